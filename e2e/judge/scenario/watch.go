package scenario

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/guard"
	"github.com/x0tta6bl4/mesh/e2e/judge/live"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/observe/pulse"
)

const (
	// watchEvery is how often a watch looks at a mesh: seldom enough that the look costs
	// nothing that is judged.
	watchEvery = 2 * time.Second
	// watchWithin bounds a look.
	watchWithin = 5 * time.Second
)

// watch looks at a mesh that is well, or under a fault, until it is taken away: for who
// watches the run, and for whether it must be stopped. A nil one is of a run that is judged
// again.
type watch struct {
	stop context.CancelFunc
	done chan struct{}
	// aborted is why the run was stopped, once done is closed.
	aborted *report.Abort

	mu     sync.Mutex
	faults int
	calm   time.Time // since when there are none
}

// look is what a watch does again and again.
type look func(ctx context.Context, calm time.Time) (*report.Abort, error)

// newWatch begins to look, and calls abort at most once: when the first look says so, which
// is the last one.
func newWatch(look look, abort func(report.Abort)) *watch {
	ctx, stop := context.WithCancel(context.Background())
	w := &watch{stop: stop, done: make(chan struct{}), calm: time.Now()}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			once, cancel := context.WithTimeout(ctx, watchWithin)
			a, err := look(once, w.since())
			cancel()
			if a != nil && err == nil && ctx.Err() == nil {
				w.aborted = a
				abort(*a)
				return
			}
		}
	}()
	return w
}

// since is since when there has been no fault; zero while there is one.
func (w *watch) since() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faults > 0 {
		return time.Time{}
	}
	return w.calm
}

// disturbed notes a fault that begins, calmed one that is over.
func (w *watch) disturbed() { w.note(1) }
func (w *watch) calmed()    { w.note(-1) }

func (w *watch) note(faults int) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults += faults
	w.calm = time.Now()
}

// end ends the looking, and returns why the run was stopped, if it was.
func (w *watch) end() *report.Abort {
	if w == nil {
		return nil
	}
	w.stop()
	<-w.done
	return w.aborted
}

// newLook looks at the run's mesh: it tells what is seen, and what the guard says.
func (r *Run) newLook() look {
	g := guard.Guard{Prometheus: r.Prom.Unrecorded(), Namespace: r.Mesh.Namespace, Expression: r.env.AbortOn}
	var last pulse.Beat
	told := false
	return func(ctx context.Context, calm time.Time) (*report.Abort, error) {
		a, err := g.Look(ctx, calm, time.Now())
		if err != nil && !told {
			told = true
			r.env.Live.Send(live.Event{Kind: live.Said, Text: "nothing is aborted while this cannot be asked: " + err.Error()})
		}
		if a != nil || r.env.Live == nil { // nobody is there to be told
			return a, err
		}
		b, seen := pulse.Look(ctx, r.Prom.Unrecorded(), r.Mesh.Namespace, time.Now())
		if seen == nil {
			tell(r.env.Live, b, last)
			last = b
		}
		return nil, errors.Join(err, seen)
	}
}

// tell tells what is new in a look.
func tell(s *live.Sender, b, last pulse.Beat) {
	if b.Clients {
		s.Send(live.Event{Kind: live.Traffic, Traffic: &live.Rates{Operations: b.Operations, Failures: b.Failures}})
	}
	opened, closed := b.Since(last)
	for _, i := range opened {
		s.Send(live.Event{Kind: live.Opened, Incident: &live.Incident{Node: i.Node, Type: i.Type}})
	}
	for _, i := range closed {
		s.Send(live.Event{Kind: live.Closed, Incident: &live.Incident{Node: i.Node, Type: i.Type}})
	}
}

// watchOver begins to watch the run's mesh, if there is somebody to stop the run.
func (r *Run) watchOver() {
	if r.env.Abort == nil {
		return
	}
	r.watch = newWatch(r.newLook(), func(a report.Abort) {
		r.env.Live.Send(live.Event{Kind: live.Aborted, Text: a.String()})
		r.env.Abort()
	})
}

// Aborted returns why the run was stopped; nil if it was not. Nobody looks any more then.
func (r *Run) Aborted() *report.Abort { return r.watch.end() }

// TakeBack takes the run's faults back at once, whether they are proven to be over or not.
func (r *Run) TakeBack(ctx context.Context) ([]string, error) {
	left, err := r.withdraw(ctx)
	if err != nil {
		return left, err
	}
	for _, e := range r.episodes {
		if e.Times.Injected != nil && e.Times.Recovered == nil {
			e.Times.Recovered = now()
			r.env.Live.Send(live.Event{Kind: live.Healed, Fault: e.fault()})
		}
	}
	return left, nil
}
