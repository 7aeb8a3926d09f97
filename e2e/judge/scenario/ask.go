package scenario

import (
	"context"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// Read asks a question until it is answered, for WaitAnswer at most.
func Read[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	return verdict.Ask(ctx, WaitAnswer, question)
}

// Journal reads the whole journal of a node. That its clock is far off is an error.
func (r *Run) Journal(ctx context.Context, node string) ([]event.Entry, error) {
	if err := r.inWindows(ctx, node); err != nil {
		return nil, err
	}
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
