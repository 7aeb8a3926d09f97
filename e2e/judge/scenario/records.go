package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Operations returns what the recording clients have done so far.
func (r *Run) Operations(ctx context.Context) ([]api.Operation, error) {
	b, err := r.Mesh.History(ctx)
	if err != nil {
		return nil, err
	}
	return api.ReadHistory(bytes.NewReader(b))
}

// Records holds what every node lists against what the clients were promised.
// They go on writing meanwhile: what they had been promised before the nodes
// were asked must be there, and what they tried until after may be.
func (r *Run) Records(ctx context.Context) (verify.Verdict, error) {
	before, err := r.Operations(ctx)
	if err != nil {
		return verify.Verdict{}, err
	}
	listed := map[string][]string{}
	for _, n := range r.Nodes {
		if listed[n], err = r.Mesh.Records(ctx, n); err != nil {
			return verify.Verdict{}, err
		}
	}
	after, err := r.Operations(ctx)
	if err != nil {
		return verify.Verdict{}, err
	}
	return verify.Set(after, verify.Last(before), listed), nil
}

// AwaitRecords waits until the guarantee holds on every node, and returns the
// last verdict if it does not in time.
func (r *Run) AwaitRecords(ctx context.Context) (verify.Verdict, error) {
	var last verify.Verdict
	lastErr := errors.New("no node answered in time")
	err := await(ctx, Wait.Settle, func(ctx context.Context) error {
		v, err := r.Records(ctx)
		if ctx.Err() != nil {
			return ctx.Err() // half an answer
		}
		if last, lastErr = v, err; err != nil {
			return err
		}
		return v.Err()
	})
	if err != nil && lastErr != nil {
		return last, fmt.Errorf("records could not be compared: %w", lastErr)
	}
	return last, ctx.Err()
}
