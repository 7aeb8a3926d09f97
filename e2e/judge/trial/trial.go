package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// followEvery is how often a node is asked for news of its journal.
const followEvery = 500 * time.Millisecond

// errInterrupted is the error of a trial that a person has ended.
var errInterrupted = errors.New("interrupted: the fault was taken back")

// Run injects a fault in the mesh of a namespace, tells to out what the nodes' loops make of it,
// takes it back, and says what the criteria would have said. It returns the exit code of a run.
// When ctx ends the fault is taken back at once.
func Run(ctx context.Context, env scenario.Env, f Fault, namespace string, out io.Writer) (code int, err error) {
	t := &teller{out: out}
	r := scenario.Join(env, f.Scenario, namespace)
	t.say("wait until the mesh in %s is well", namespace)
	if err := r.Enter(ctx); err != nil {
		r.Close()
		if errors.Is(err, scenario.ErrNoMesh) {
			return report.ExitUsage, err
		}
		return report.ExitInvalid, err
	}
	if err := r.Settle(ctx); err != nil {
		r.Close()
		return report.ExitInvalid, err
	}
	e, err := try(ctx, t, r, f)
	if interrupted := ctx.Err() != nil; interrupted || err != nil {
		t.say("take the fault back")
		err = errors.Join(err, back(ctx, t, r, e))
		if interrupted {
			err = errInterrupted
		}
		return report.ExitInvalid, err
	}
	verdicts, err := judge(ctx, t, r, e)
	left := 0
	if residue := back(ctx, t, r, nil); residue != nil {
		left, err = 1, errors.Join(err, residue)
	}
	return report.Exit(verdicts, left), err
}

// try injects the fault and waits until it is over. Meanwhile it tells what the loops do.
func try(ctx context.Context, t *teller, r *scenario.Run, f Fault) (*scenario.Episode, error) {
	following, stop := context.WithCancel(ctx)
	var nodes sync.WaitGroup
	defer nodes.Wait()
	defer stop()
	began := time.Now()
	for _, n := range r.Nodes {
		nodes.Go(func() { r.Mesh.Follow(following, n, followEvery, began, t.phases) })
	}
	t.say("inject %s", f.Fixture)
	e, err := r.Disturb(ctx, f.Fixture)
	if err != nil {
		return nil, err
	}
	t.say("it bites, as is proven from outside the nodes%s%s", in(e.Victims), lasting(e.Lasts()))
	if err := e.AwaitHeal(ctx); err != nil {
		return e, err
	}
	t.say("it is over, as is proven from outside, after %v", e.Window.End.Sub(e.Window.Start).Round(time.Second))
	// What comes now is the way back, and what should not come any more.
	t.say("watch for %v more", scenario.Tail)
	return e, e.AwaitTail(ctx)
}

func in(victims []string) string {
	if len(victims) == 0 {
		return ""
	}
	return " in " + strings.Join(victims, ", ")
}

func lasting(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(", for %v at most", d)
}

// judge tells what the criteria say that can be judged without the rest of their scenario.
func judge(ctx context.Context, t *teller, r *scenario.Run, e *scenario.Episode) (int, error) {
	all, err := r.Judge(ctx)
	if err != nil {
		return report.ExitInvalid, err
	}
	return t.criteria(r.Name, all)
}

// back takes back what is left of the fault, sees from outside that it is, and tells what
// it left behind. It has a time of its own, also after an interrupt.
func back(ctx context.Context, t *teller, r *scenario.Run, e *scenario.Episode) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scenario.WaitCleanup)
	defer cancel()
	var err error
	if e != nil && !e.Healed() {
		if err = e.End(ctx); err == nil {
			t.say("it is over, as is proven from outside")
		}
	}
	left, leaving := r.Leave(ctx)
	for _, l := range left {
		err = errors.Join(err, fmt.Errorf("left behind: %s", l))
	}
	if err = errors.Join(err, leaving); err == nil {
		t.say("nothing is left of it")
	}
	return err
}

// teller writes what happens, from several goroutines.
type teller struct {
	mu  sync.Mutex
	out io.Writer
}

func (t *teller) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "%s  %s\n", time.Now().UTC().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

func (t *teller) phases(entries []event.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range journal.Phases(entries) {
		fmt.Fprintln(t.out, line)
	}
}
