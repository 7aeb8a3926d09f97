package mapek

import (
	"errors"
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Effector does what actions say and sees whether it worked.
type Effector interface {
	// Start begins an action. It must not block.
	Start(a Action) error
	// Done reports whether the effect of a started action is there.
	Done(a Action) bool
}

// Outcome is the end of an action; Err is nil if its effect was observed.
type Outcome struct {
	Action
	Took time.Duration
	Err  error
}

// outcome is the value of the label and of the journal's detail.
func (o *Outcome) outcome() string {
	if o.Err != nil {
		return metric.OutcomeFailed
	}
	return metric.OutcomeDone
}

// ErrNoEffect is the error of an action whose effect was not observed before
// its deadline.
var ErrNoEffect = errors.New("no effect")

// Execute starts planned actions and looks after running ones. It returns those
// that go on and those that ended.
func Execute(now time.Time, e Effector, planned, running []Action) (still []Action, ended []Outcome) {
	for _, a := range planned {
		if mutant.PlanWithoutExecute {
			continue
		}
		a.Started = now
		if mutant.DoneWithoutEffect {
			ended = append(ended, Outcome{Action: a})
			continue
		}
		if err := e.Start(a); err != nil {
			ended = append(ended, Outcome{Action: a, Err: err})
			continue
		}
		running = append(running, a)
	}
	for _, a := range running {
		took := now.Sub(a.Started)
		switch {
		case e.Done(a):
			ended = append(ended, Outcome{Action: a, Took: took})
		case took >= a.Deadline:
			ended = append(ended, Outcome{Action: a, Took: took, Err: fmt.Errorf("%s %s: %w within %v", a.Name, a.Peer, ErrNoEffect, a.Deadline)})
		default:
			still = append(still, a)
		}
	}
	return still, ended
}
