package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/lane"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

// How long a lane must be alone. Longer than it takes on a small machine that has nothing else to do; what
// takes longer goes on being alone.
const (
	makes   = 15 * time.Second // from the first pod to the first whole mesh
	reacts  = 8 * time.Second  // an injection, and all that a bar of seconds is about
	heals   = 6 * time.Second  // the same of a heal
	removes = 6 * time.Second  // until the pods are gone, and what they had
	// early is how long before a heal it has to be quiet.
	early = time.Second
)

// turn waits until this run may have spans for itself.
func (r *Run) turn(ctx context.Context, to string, spans ...lane.Span) (*lane.Turn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, WaitTurn, fmt.Errorf("others leave no moment within %v", WaitTurn))
	defer cancel()
	return r.env.Turns.Take(ctx, r.Name+": "+to, spans...)
}

// made ends the turn in which a mesh was made, or keeps it for what follows.
func (r *Run) made(turn *lane.Turn, err error) error {
	if err == nil && r.Opens {
		r.opening = turn
		return nil
	}
	return errors.Join(err, verdict.Unproven(turn.Done()))
}

// opened ends the turn that made has kept, if it has.
func (r *Run) opened() error {
	turn := r.opening
	r.opening = nil
	return turn.Done()
}

// disturbance are the spans of a fault that lasts so long: its beginning, and its end
// where that comes by itself.
func disturbance(lasts time.Duration) []lane.Span {
	spans := []lane.Span{{To: reacts, Open: true}} // until it is proven
	if lasts > 0 {
		spans = append(spans, lane.Span{From: max(lasts-early, reacts), To: max(lasts, reacts) + heals})
	}
	return spans
}

// yields is how long a removal waits for others. Not for ever: a mesh that is being made may need the place.
const yields = 20 * time.Second

// InTurn calls remove while no other lane is at what it must be alone for, or when it has waited long enough.
func (r *Run) InTurn(ctx context.Context, remove func() error) error {
	if err := r.opened(); err != nil { // it has come to no fault
		return verdict.Unproven(err)
	}
	waited, cancel := context.WithTimeoutCause(ctx, yields, fmt.Errorf("others leave no moment within %v", yields))
	turn, err := r.turn(waited, "remove the mesh", lane.Span{To: removes, Open: true})
	cancel()
	if err != nil && ctx.Err() != nil {
		return verdict.Unproven(err)
	}
	return errors.Join(remove(), verdict.Unproven(turn.Done()))
}
