package scenario

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Attack is an attack on the mesh's signatures under way.
type Attack struct {
	*Episode
	// Suspect is the member whose signatures are bad.
	Suspect string
	// Seers are the nodes that get them.
	Seers []string
}

// attackApp is the value of the label app of pods that attack.
const attackApp = "pqc-inject"

// Corrupt flips bits in the signatures that a pod sends, by a fixture, and
// proves by the counts of the program at the pod's egress that it does.
func (r *Run) Corrupt(ctx context.Context, fixture string) (*Attack, error) {
	o, err := r.load(fixture)
	if err != nil {
		return nil, err
	}
	a := &Attack{Suspect: o.GetName()}
	a.Seers = slices.DeleteFunc(slices.Clone(r.Nodes), func(n string) bool { return n == a.Suspect })
	a.Episode, err = r.inject(ctx, o, func(*Episode) proof {
		const container = "pqc-corrupt"
		return proof{
			bites: func(ctx context.Context) error {
				l, err := r.told(ctx, a.Suspect, container)
				if err == nil && l.Fault.Corrupted == 0 {
					err = fmt.Errorf("of %d signature fragments that left %s none was changed", l.Fault.Seen, a.Suspect)
				}
				return err
			},
			over: func(ctx context.Context) error {
				l, err := r.told(ctx, a.Suspect, container)
				if err == nil && l.Event != "detached" {
					err = fmt.Errorf("the program at the egress of %s is still there: %s", a.Suspect, l.Event)
				}
				return err
			},
		}
	})
	return a, err
}

// Inject has a member of its own send invalid signatures and unknown keys to
// every node, by a fixture, and proves by what it counted that it does.
func (r *Run) Inject(ctx context.Context, fixture string) (*Attack, error) {
	o, err := r.load(fixture)
	if err != nil {
		return nil, err
	}
	a := &Attack{Seers: r.Nodes}
	look := func(ctx context.Context) error {
		pods, err := r.Mesh.Pods(ctx, attackApp)
		if err != nil {
			return err
		}
		if len(pods) != 1 {
			return fmt.Errorf("%d pods with app=%s, not one", len(pods), attackApp)
		}
		a.Suspect = pods[0].Name
		l, err := r.told(ctx, a.Suspect, "")
		if err == nil && l.Event == "" {
			err = errors.New("the injector has said nothing yet")
		}
		return err
	}
	a.Episode, err = r.inject(ctx, o, func(*Episode) proof { return proof{bites: look, over: look} })
	return a, err
}

// told is the last line that meshnode chaos wrote in a container of a pod.
func (r *Run) told(ctx context.Context, pod, container string) (line struct {
	Time  time.Time
	Event string
	Fault struct{ Seen, Corrupted uint64 }
}, err error) {
	log, err := r.Mesh.Log(ctx, pod, container)
	if err != nil {
		return line, err
	}
	for s := bufio.NewScanner(bytes.NewReader(log)); s.Scan(); {
		next := line
		next.Fault.Seen, next.Fault.Corrupted = 0, 0
		// What it injected comes as a list, which tells nothing here but that it did.
		var shape *json.UnmarshalTypeError
		if err := json.Unmarshal(s.Bytes(), &next); (err == nil || errors.As(err, &shape)) && next.Event != "" {
			line = next
		}
	}
	return line, nil
}

// End returns when the attack ended, by the attacker's own last line.
func (a *Attack) End(ctx context.Context) (time.Time, error) {
	l, err := a.run.told(ctx, a.Suspect, "pqc-corrupt")
	if err == nil && l.Event != "detached" {
		err = fmt.Errorf("the attack is not over: %s", l.Event)
	}
	return l.Time, err
}

// Seen narrows a window to the nodes that get bad signatures.
func (a *Attack) Seen() prom.Window {
	w := a.Window
	w.Pods = a.Seers
	return w
}

// Invalidated returns how long after the failure that calls for it, the
// policy's limit of failures of one incident, each node had invalidated its
// session with the suspect.
func (a *Attack) Invalidated(ctx context.Context) (Reactions, error) {
	took := Reactions{}
	for _, n := range a.Seers {
		journal, err := a.run.Mesh.Journal(ctx, n)
		if err != nil {
			return took, err
		}
		last, ok := FailedTimes(journal, a.Window.Start, a.Suspect, invalidateAfter)
		if !ok {
			return took, fmt.Errorf("the journal of %s holds no %d failures of %s in one incident, but %s",
				n, invalidateAfter, a.Suspect, Kinds(journal, a.Window.Start))
		}
		done, ok := First(journal, last.Time, func(e event.Entry) bool {
			return Done(metric.InvalidateSession)(e) && e.Subject == a.Suspect
		})
		if !ok {
			return took, fmt.Errorf("the journal of %s holds no invalidation of the session with %s, but %s",
				n, a.Suspect, Kinds(journal, last.Time))
		}
		took[n] = done.Time.Sub(last.Time)
	}
	return took, nil
}

// invalidateAfter is the policy's number of failures.
const invalidateAfter = 3

// FailedTimes returns the entry of a peer's nth failure in one incident after
// a time.
func FailedTimes(journal []event.Entry, after time.Time, peer string, n int) (event.Entry, bool) {
	failures := map[string]int{}
	return First(journal, after, func(e event.Entry) bool {
		if e.Kind != event.SessionFailed || e.Subject != peer {
			return false
		}
		failures[e.Incident]++
		return failures[e.Incident] == n
	})
}

// Rotated returns how long after the attack's end each node had new keys with
// the suspect: the end of its last rotation. The error says whose session was
// not replaced at all since it was last invalidated.
func (a *Attack) Rotated(ctx context.Context) (Reactions, error) {
	end, err := a.End(ctx)
	if err != nil {
		return nil, err
	}
	took := Reactions{}
	for _, n := range a.Seers {
		journal, err := a.run.Mesh.Journal(ctx, n)
		if err != nil {
			return took, err
		}
		var invalidated, rotated time.Time
		for _, e := range journal {
			switch {
			case e.Subject != a.Suspect || e.Detail[event.DetailOutcome] != metric.OutcomeDone:
			case e.Kind == metric.InvalidateSession:
				invalidated = e.Time
			case e.Kind == metric.RotateKeys:
				rotated = e.Time
			}
		}
		if !rotated.After(invalidated) {
			return took, fmt.Errorf("%s has invalidated its session with %s at %s and has no new one",
				n, a.Suspect, invalidated.Format(time.RFC3339Nano))
		}
		took[n] = max(rotated.Sub(end), 0)
	}
	return took, nil
}

// Innocents names the sessions that were invalidated or replaced for a
// compromise although their peer is not the suspect.
func (a *Attack) Innocents(ctx context.Context) ([]string, error) {
	var found []string
	for _, n := range a.run.Nodes {
		journal, err := a.run.Mesh.Journal(ctx, n)
		if err != nil {
			return nil, err
		}
		for _, e := range journal {
			if e.Phase == event.Execute && e.Kind == metric.InvalidateSession && e.Subject != a.Suspect && e.Time.After(a.Window.Start) {
				found = append(found, n+"→"+e.Subject)
			}
		}
	}
	return found, nil
}
