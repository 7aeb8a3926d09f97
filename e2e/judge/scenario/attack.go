package scenario

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
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
	// Container is that of the program that makes them bad; empty: the fixture's.
	Container string
}

// corruptContainer is the name in the fixture.
const corruptContainer = "pqc-corrupt"

// Corrupt flips bits in the signatures that a pod sends, by a fixture, and
// proves by the counts of the program at the pod's egress that it does.
func (r *Run) Corrupt(ctx context.Context, fixture string) (*Attack, error) {
	o, err := r.loadFor(fixture, SpikeFor)
	if err != nil {
		return nil, err
	}
	a := &Attack{Suspect: o.GetName()}
	a.Seers = slices.DeleteFunc(slices.Clone(r.Nodes), func(n string) bool { return n == a.Suspect })
	if !r.env.Absent {
		if a.Container, err = fault.Unused(ctx, r.env.Client.Resources().GetControllerRuntimeClient(), o); err != nil {
			return nil, verdict.Unproven(err)
		}
	}
	a.Episode, err = r.inject(ctx, o, func(*Episode) proof {
		return proof{
			bites: func(ctx context.Context) error {
				l, err := r.told(ctx, a.Suspect, a.Container)
				if err == nil && l.Fault.Corrupted == 0 {
					err = fmt.Errorf("of %d signature fragments that left %s none was changed", l.Fault.Seen, a.Suspect)
				}
				return err
			},
			over: func(ctx context.Context) error {
				l, err := r.told(ctx, a.Suspect, a.Container)
				if err == nil && l.Event != "detached" {
					err = fmt.Errorf("the program at the egress of %s is still there: %s", a.Suspect, l.Event)
				}
				return err
			},
		}
	})
	return note(r, a, err)
}

// Inject starts an attacker in a pod of its own, by a fixture, and proves by what it says
// that it attacks. It is a member of the mesh, and the suspect.
func (r *Run) Inject(ctx context.Context, fixture string) (*Attack, error) {
	return r.attack(ctx, fixture, func(a *Attack, attacker string) { a.Suspect = attacker })
}

// Forge is Inject of an attacker who is off the path: nobody of the mesh is the suspect.
func (r *Run) Forge(ctx context.Context, fixture string) (*Attack, error) {
	return r.attack(ctx, fixture, func(*Attack, string) {})
}

func (r *Run) attack(ctx context.Context, fixture string, suspect func(*Attack, string)) (*Attack, error) {
	o, err := r.load(fixture)
	if err != nil {
		return nil, err
	}
	a, app := &Attack{Seers: r.Nodes}, o.GetLabels()["app"]
	look := func(ctx context.Context) error {
		pods, err := r.Mesh.Pods(ctx, app)
		if err != nil {
			return err
		}
		if len(pods) != 1 {
			return fmt.Errorf("%d pods with app=%s, not one", len(pods), app)
		}
		suspect(a, pods[0].Name)
		l, err := r.told(ctx, pods[0].Name, "")
		if err == nil && l.Event == "" {
			err = errors.New("the injector has said nothing yet")
		}
		return err
	}
	a.Episode, err = r.inject(ctx, o, func(*Episode) proof {
		return proof{bites: look, over: look, presume: func() error { suspect(a, o.GetName()); return nil }}
	})
	return note(r, a, err)
}

// told is the last line that meshchaos wrote in a container of a pod.
func (r *Run) told(ctx context.Context, pod, container string) (line struct {
	Time  time.Time
	Event string
	Fault struct{ Seen, Corrupted uint64 }
}, err error) {
	log, err := r.answers().Log(ctx, pod, container)
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
	if a.Absent {
		return a.Window.End, nil
	}
	l, err := a.run.told(ctx, a.Suspect, cmp.Or(a.Container, corruptContainer))
	if err == nil && l.Event != "detached" {
		err = fmt.Errorf("the attack is not over: %s", l.Event)
	}
	return l.Time, err
}

// Seen narrows the attack's window, with the time until Prometheus has what was counted at its end, to
// the nodes that get bad signatures.
func (a *Attack) Seen() prom.Window {
	w := a.Scraped()
	w.Pods = a.Seers
	return w
}

// Watched is Seen with the tail after the attack.
func (a *Attack) Watched() prom.Window {
	w := a.Tailed()
	w.Pods = a.Seers
	return w
}

// Loop is what the loop of the nodes that get bad signatures is expected to do.
func (a *Attack) Loop() *Loop {
	about := map[string][]string{}
	for _, n := range a.Seers {
		about[n] = []string{a.Suspect}
	}
	return a.Expect(Loop{
		Incident: metric.HighFailureRate, About: about, Symptoms: []string{event.FailuresHigh, event.SessionFailed},
		Actions: []string{metric.InvalidateSession, metric.RotateKeys},
	})
}

// Invalidated returns how long each node took to invalidate its session with the suspect
// after the failure that calls for it, the policy's limit of failures of one incident, and
// after the first bad signature of all: all by the node's own journal, and so by one clock.
func (a *Attack) Invalidated(ctx context.Context) (took, sinceFirst verdict.Times, err error) {
	took, sinceFirst = verdict.Times{}, verdict.Times{}
	logs, err := a.run.Journals(ctx, a.Seers)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range a.Seers {
		first, _ := journal.First(logs[n], a.Window.Start, failed(a.Suspect))
		last, ok := FailedTimes(logs[n], a.Window.Start, a.Suspect, invalidateAfter)
		if !ok {
			return nil, nil, verdict.Shortf("the journal of %s holds no %d failures of %s in one incident, but %s",
				n, invalidateAfter, a.Suspect, journal.Kinds(logs[n], a.Window.Start))
		}
		done, ok := journal.First(logs[n], last.Time, journal.All(journal.Done(metric.InvalidateSession), journal.About(a.Suspect)))
		if !ok {
			return nil, nil, verdict.Shortf("the journal of %s holds no invalidation of the session with %s, but %s",
				n, a.Suspect, journal.Kinds(logs[n], last.Time))
		}
		took[n], sinceFirst[n] = done.Time.Sub(last.Time), done.Time.Sub(first.Time)
	}
	return took, sinceFirst, nil
}

// failed matches an attestation of a peer that did not verify.
func failed(peer string) journal.Match {
	return journal.All(journal.Kind(event.SessionFailed), journal.About(peer))
}

// invalidateAfter is the policy's number of failures.
const invalidateAfter = 3

// FailedTimes returns the entry of a peer's nth failure in one incident after
// a time.
func FailedTimes(entries []event.Entry, after time.Time, peer string, n int) (event.Entry, bool) {
	failures := map[string]int{}
	return journal.First(entries, after, func(e event.Entry) bool {
		if !failed(peer)(e) {
			return false
		}
		failures[e.Incident]++
		return failures[e.Incident] == n
	})
}

// Rotated returns how long after the attack's end each node had new keys with the suspect. The
// machine of the attacker dates the end. That a session was not replaced since it was last invalidated is a shortfall.
func (a *Attack) Rotated(ctx context.Context) (verdict.Times, error) {
	end, err := a.End(ctx)
	if err != nil {
		return nil, err
	}
	logs, err := a.run.Journals(ctx, a.Seers)
	if err != nil {
		return nil, err
	}
	took := verdict.Times{}
	for _, n := range a.Seers {
		cause, done, err := Rotation(logs[n], a.Suspect)
		if err != nil {
			return nil, verdict.Shortf("%s: %v", n, err)
		}
		since := end
		if done.Before(end) { // nothing that was bad came after it: to this node the attack was over then
			since = cause
		}
		took[n] = done.Sub(since)
	}
	return took, nil
}

// Rotation returns when a node had new keys with a peer for good: when the first rotation
// was done that began after the last cause for one, which is the last invalidation or the
// last bad signature; and when that cause was.
func Rotation(entries []event.Entry, peer string) (since, until time.Time, err error) {
	about := journal.About(peer)
	cause, ok := journal.Last(entries, func(e event.Entry) bool {
		return failed(peer)(e) || about(e) && journal.Done(metric.InvalidateSession)(e)
	})
	if !ok {
		return since, until, fmt.Errorf("no bad signature of %s and no invalidation: nothing called for new keys", peer)
	}
	began, ok := journal.First(entries, cause.Time, journal.All(about, journal.Started(metric.RotateKeys)))
	if !ok {
		return since, until, fmt.Errorf("no rotation of the keys with %s began after %s of %s", peer, cause.Kind, cause.Time.UTC().Format(time.TimeOnly))
	}
	done, ok := journal.First(entries, began.Time.Add(-1), journal.All(about, journal.Done(metric.RotateKeys)))
	if !ok {
		return since, until, fmt.Errorf("the rotation of the keys with %s that began at %s is not done", peer, began.Time.UTC().Format(time.TimeOnly))
	}
	return cause.Time, done.Time, nil
}

// SessionIDs returns the ids of the sessions between the suspect and each node that gets
// bad signatures, as both ends tell them: "a→b" is what a says.
func (a *Attack) SessionIDs(ctx context.Context) (map[string]string, error) {
	ids, err := a.run.AllSessions(ctx)
	maps.DeleteFunc(ids, func(way, _ string) bool {
		from, to, _ := strings.Cut(way, "→")
		return from != a.Suspect && to != a.Suspect
	})
	return ids, err
}

// Replaced checks that every session with the suspect has another id than before, and the
// same at both ends.
func Replaced(before, after map[string]string) error {
	if len(before) == 0 {
		return verdict.Unproven(errors.New("no session was known before"))
	}
	for _, way := range slices.Sorted(maps.Keys(before)) {
		from, to, _ := strings.Cut(way, "→")
		switch now := after[way]; {
		case now == "":
			return verdict.Shortf("%s has no session with %s", from, to)
		case now == before[way]:
			return verdict.Shortf("%s still has the session with %s that it had before", from, to)
		case now != after[to+"→"+from]:
			return verdict.Shortf("%s and %s are not in the same session", from, to)
		}
	}
	return nil
}

// Innocents names what befell sessions whose peer is not the suspect: they were
// invalidated, replaced for a compromise, or their peer was blocked. A rotation or a block
// is told by the journal, and so is an invalidation; Prometheus counts them beside it.
func (a *Attack) Innocents(ctx context.Context) ([]string, error) {
	logs, err := a.run.Journals(ctx, a.run.Nodes)
	if err != nil {
		return nil, err
	}
	until := a.Tailed().End
	var found []string
	for _, n := range a.run.Nodes {
		found = append(found, harmed(n, a.Suspect, journal.Between(logs[n], a.Window.Start, until))...)
	}
	return found, nil
}

// harmed names what a node did to sessions with others than the suspect.
func harmed(node, suspect string, entries []event.Entry) []string {
	var found []string
	for _, e := range entries {
		harm := e.Kind == metric.InvalidateSession || e.Kind == metric.RotateKeys || e.Kind == metric.BlockPeer
		if e.Phase == event.Execute && harm && node != suspect && e.Subject != suspect {
			found = append(found, node+"→"+e.Subject+": "+e.Kind)
		}
	}
	return found
}
