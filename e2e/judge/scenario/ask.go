package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// Read asks a question until it is answered, for WaitAnswer at most.
func Read[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	return verdict.Ask(ctx, WaitAnswer, question)
}

// Journal reads the whole journal of a node.
func (r *Run) Journal(ctx context.Context, node string) ([]event.Entry, error) {
	if r.artefacts != nil { // to ask again changes nothing
		return r.artefacts.Journal(ctx, node)
	}
	return Read(ctx, func(ctx context.Context) ([]event.Entry, error) { return r.Mesh.Journal(ctx, node) })
}

// Journals reads the journals of several nodes, by name.
func (r *Run) Journals(ctx context.Context, nodes []string) (map[string][]event.Entry, error) {
	logs := map[string][]event.Entry{}
	for _, n := range nodes {
		var err error
		if logs[n], err = r.Journal(ctx, n); err != nil {
			return nil, err
		}
	}
	return logs, nil
}

// Knowledge reads what a node's loop has learned.
func (r *Run) Knowledge(ctx context.Context, node string) (*api.Knowledge, error) {
	return Read(ctx, func(ctx context.Context) (*api.Knowledge, error) { return r.Mesh.Knowledge(ctx, node) })
}

// Status reads a node's view of the mesh.
func (r *Run) Status(ctx context.Context, node string) (*api.Status, error) {
	return Read(ctx, func(ctx context.Context) (*api.Status, error) { return r.Mesh.Status(ctx, node) })
}

// maxSkew is how far two clocks may lie apart before their times can be compared no more.
const maxSkew = 50 * time.Millisecond

// Skew returns how far the nodes' clocks may be from this machine's, error of measurement
// included: to be added to every bound on times of different machines. More than 50 ms is
// an error: such times prove nothing.
func (r *Run) Skew(ctx context.Context) (time.Duration, error) {
	if r.artefacts != nil {
		return r.skew, nil
	}
	var worst time.Duration
	for _, n := range r.Nodes {
		off, err := Read(ctx, func(ctx context.Context) (time.Duration, error) { return r.Mesh.Skew(ctx, n) })
		if err != nil {
			return 0, err
		}
		worst = max(worst, off)
	}
	if worst > maxSkew {
		return worst, verdict.Unproven(fmt.Errorf("the clocks of the nodes and this machine's may lie %v apart, and more than %v makes their times incomparable",
			worst.Round(time.Millisecond), maxSkew))
	}
	r.skew = worst
	return worst, nil
}
