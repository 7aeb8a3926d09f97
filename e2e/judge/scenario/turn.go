package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/lane"
)

// How long a lane must be alone. Longer than it takes on a small machine.
const (
	makes  = 15 * time.Second // from the first pod to the first whole mesh
	reacts = 8 * time.Second  // an injection, and all that a bar of seconds is about
	heals  = 6 * time.Second  // the same of a heal
	// early is how long before a heal it has to be quiet.
	early = time.Second
)

// turn waits until this run may have spans for itself.
func (r *Run) turn(ctx context.Context, to string, spans ...lane.Span) (*lane.Turn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, WaitTurn, fmt.Errorf("others leave no moment within %v", WaitTurn))
	defer cancel()
	return r.env.Turns.Take(ctx, r.Name+": "+to, spans...)
}

// disturbance are the spans of a fault that lasts so long: its beginning, and its end
// where that comes by itself.
func disturbance(lasts time.Duration) []lane.Span {
	spans := []lane.Span{{To: reacts}}
	if lasts > 0 {
		spans = append(spans, lane.Span{From: max(lasts-early, reacts), To: max(lasts, reacts) + heals})
	}
	return spans
}
