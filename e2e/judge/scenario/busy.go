package scenario

import (
	"context"
	"fmt"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// tolerated is how many stalls of the recording clients are no sign of a busy machine:
// when pods start beside them, there are some.
const tolerated = 2

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
	stalls, err := r.Prom.Total(metric.ClientStallsTotal, nil, w)(ctx)
	if err != nil {
		return ""
	}
	return busy(stalls)
}

func busy(stalls float64) string {
	if stalls <= tolerated {
		return ""
	}
	return fmt.Sprintf("the machine was too busy: the recording client was kept from running %v times", stalls)
}
