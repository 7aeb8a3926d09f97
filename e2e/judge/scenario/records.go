package scenario

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Operations returns what the recording clients have done so far.
func (r *Run) Operations(ctx context.Context) ([]api.Operation, error) {
	read := func(ctx context.Context) ([]api.Operation, error) {
		b, err := r.answers().History(ctx)
		if err != nil {
			return nil, err
		}
		return api.ReadHistory(bytes.NewReader(b))
	}
	if r.artefacts != nil { // to ask again changes nothing
		return read(ctx)
	}
	return Read(ctx, read)
}

// OperationsUntil returns what the recording clients have done, once they have done
// something after a time: what is not in their history by then is open or hangs. That a clock
// of theirs is off is an error: which operations were in a window is told by it.
func (r *Run) OperationsUntil(ctx context.Context, until time.Time) ([]api.Operation, error) {
	if _, err := r.Skew(ClockOfClients)(ctx); err != nil {
		return nil, err
	}
	ops, err := r.Operations(ctx)
	if err == nil && !verify.Last(ops).After(until) {
		err = fmt.Errorf("the recording clients have told nothing after %s", until.UTC().Format(time.TimeOnly))
	}
	return ops, err
}

// Records holds what every node lists, and the content of what was acknowledged, against
// what the clients were promised. They go on writing meanwhile: what they had been
// promised before the nodes were asked must be there, and what they tried until after may
// be. Records that are not as promised are a shortfall.
func (r *Run) Records(ctx context.Context) (verify.Verdict, error) {
	before, err := r.Operations(ctx)
	if err != nil {
		return verify.Verdict{}, err
	}
	settled := verify.Last(before)
	acknowledged, sizes := verify.Acknowledged(before, settled)
	listed, changed := map[string][]string{}, []verify.Defect(nil)
	// One node after the other: to read all of them at once takes all of a small machine for seconds, of
	// what is judged in this lane and in others.
	for _, n := range r.Nodes {
		if listed[n], err = r.Mesh.Records(ctx, n); err != nil {
			return verify.Verdict{}, err
		}
		if err := r.Mesh.Bodies(ctx, n, acknowledged, func(id string, body []byte) {
			if !verify.Intact(id, body, sizes[id]) {
				changed = append(changed, verify.Defect{ID: id, Node: n})
			}
		}); err != nil {
			return verify.Verdict{}, err
		}
	}
	after, err := r.Operations(ctx)
	if err != nil {
		return verify.Verdict{}, err
	}
	v := verify.Set(after, settled, listed, changed)
	if err := v.Err(); err != nil {
		return v, verdict.Shortf("%v", err)
	}
	return v, nil
}

// AwaitRecords waits until the guarantee holds on every node, and returns the last
// verdict. That it does not in time is a shortfall.
func (r *Run) AwaitRecords(ctx context.Context) (verify.Verdict, error) {
	var last verify.Verdict
	err := await(ctx, WaitSettle, func(ctx context.Context) error {
		v, err := r.Records(ctx)
		if ctx.Err() == nil { // half an answer is none
			last = v
		}
		return err
	})
	return last, err
}
