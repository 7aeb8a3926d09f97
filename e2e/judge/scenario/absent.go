package scenario

import (
	"context"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

// pretend begins the episode of a fault that is absent: all that follows is judged as if it
// were there, and had bitten at once. It needs no turn.
func (r *Run) pretend(ctx context.Context, o fault.Object, lasts time.Duration, prove func(*Episode) proof) (*Episode, error) {
	if lasts == 0 || lasts > r.env.Profile.longest() {
		lasts = r.env.Profile.longest()
	}
	e := r.begin(o, lasts)
	e.Name, e.Absent = e.Name+" (absent)", true
	var err error
	if e.injection, err = fault.Pretend(o, r.pods, lasts); err != nil {
		return nil, verdict.Unproven(err)
	}
	e.applied()
	e.Times.Injected, e.Victims = now(), e.injection.Victims()
	if p := prove(e); p.presume != nil {
		if err := p.presume(); err != nil {
			return nil, verdict.Unproven(err)
		}
	}
	e.proof = pretended()
	e.proven()
	return e, ctx.Err()
}

// pretended is the proof of a fault that is absent: nobody asks.
func pretended() proof {
	nothing := func(context.Context) error { return nil }
	return proof{bites: nothing, over: nothing}
}
