package scenario

import (
	"context"
	"fmt"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Busy tells why what was observed says nothing of the mesh: its machine was too busy for
// anybody. The recording clients are the witness, which have no part in the mesh. Nothing
// is what it returns on a quiet machine, and where nobody can tell.
func (r *Run) Busy(ctx context.Context) string {
	if r.Baseline.Start.IsZero() {
		return ""
	}
	clients, err := r.Mesh.Pods(ctx, mesh.ClientApp)
	if err != nil {
		return ""
	}
	w := prom.Window{Namespace: r.Mesh.Namespace, Start: r.Baseline.Start}
	for _, p := range clients {
		w.Pods = append(w.Pods, p.Name)
	}
	all, err := r.Prom.Total(metric.ClientStall+"_count", nil, w)(ctx)
	if err != nil {
		return ""
	}
	short, err := r.Prom.Total(metric.ClientStall+"_bucket", prom.Labels{"le": fmt.Sprint(metric.ClientStallLong)}, w)(ctx)
	if err != nil {
		return ""
	}
	return busy(all - short)
}

func busy(stalls float64) string {
	if stalls == 0 {
		return ""
	}
	return fmt.Sprintf("the machine was too busy: the recording client was kept from running for more than %v s, %v times", metric.ClientStallLong, stalls)
}
