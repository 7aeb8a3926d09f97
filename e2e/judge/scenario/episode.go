package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/lane"
	"github.com/x0tta6bl4/mesh/e2e/judge/live"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

// Episode is one fault in a run's mesh, from its injection to its recovery.
type Episode struct {
	// Name is the fixture's, with the scenario's before it.
	Name string
	// Window opens right before the fault.
	Window prom.Window
	// Times tells when it was injected, proven and recovered.
	Times report.Fault
	// Until is when its time was up or, before that, when it began to be taken back.
	Until time.Time `json:",omitzero"`
	// Victims are the pods that the fault is in.
	Victims []string
	// Absent is whether it only is said to be there: see Env.
	Absent bool `json:",omitempty"`

	run       *Run
	injection *fault.Injection
	turn      *lane.Turn
	lasts     time.Duration
	proof     proof
	healed    bool
	moment    bool // over as soon as it is there
	aside     bool // it is no fault, but part of how one is judged
}

// proof tells from outside the nodes whether a fault bites, and whether it is
// over.
type proof struct {
	bites, over func(context.Context) error
	// presume finds out of a fault that is absent what bites finds out of one that is there;
	// nil where that is nothing.
	presume func() error
}

// victim is the one pod that the fault must be in.
func (e *Episode) victim() (string, error) {
	if len(e.Victims) != 1 {
		return "", fmt.Errorf("the fault is in %d pods, not in one: %v", len(e.Victims), e.Victims)
	}
	return e.Victims[0], nil
}

// stands checks from outside that the fault is still there: what is judged beside one that
// has gone proves nothing.
func (e *Episode) stands(ctx context.Context) error {
	if err := e.proof.bites(ctx); err != nil {
		return verdict.Unproven(fmt.Errorf("%s is over too early: %w", e.Name, err))
	}
	return nil
}

// Lasts is how long the fault is to last; 0: until it is taken back.
func (e *Episode) Lasts() time.Duration { return e.lasts }

// fault is the fixture's name alone.
func (e *Episode) fault() string { return strings.TrimPrefix(e.Name, e.run.Name+": ") }

// Healed reports whether the fault is over; a fault that never was is not.
func (e *Episode) Healed() bool { return e != nil && e.healed }

// load reads a fixture for the run: its duration by the profile, its namespace
// and selectors in the run's mesh.
func (r *Run) load(fixture string) (fault.Object, error) { return r.loadFor(fixture, AlertFor) }

// loadFor is load of a fault that no profile makes shorter than least.
func (r *Run) loadFor(fixture string, least time.Duration) (fault.Object, error) {
	o, err := fault.Load(r.env.Fixtures, fixture)
	if err != nil {
		return nil, err
	}
	lasts := r.env.Profile.Fault
	if lasts == 0 && !fault.Ends(o) { // nobody else takes it back
		lasts = Unsaid
	}
	if lasts > 0 {
		if err := fault.Shorten(o, max(lasts, least), least); err != nil {
			return nil, err
		}
	}
	fault.Retarget(o, r.Mesh.Namespace)
	return o, nil
}

// inject applies a fault, waits until it is in the pods by Chaos Mesh's own
// account, and then until the proof shows from outside that it bites. What
// goes wrong up to there makes the scenario invalid.
func (r *Run) inject(ctx context.Context, o fault.Object, prove func(*Episode) proof) (*Episode, error) {
	lasts, err := fault.Duration(o)
	if err != nil {
		return nil, err
	}
	return r.injectIn(ctx, r.env.Absent, disturbance(lasts), o, prove)
}

// injectIn is inject in a turn of such spans, and pretends if the fault is to be absent.
func (r *Run) injectIn(ctx context.Context, absent bool, spans []lane.Span, o fault.Object, prove func(*Episode) proof) (*Episode, error) {
	lasts, err := fault.Duration(o)
	if err != nil {
		return nil, err
	}
	period, err := fault.Period(o)
	if err != nil {
		return nil, err
	}
	if absent {
		return r.pretend(ctx, o, lasts, prove)
	}
	if err := supported(o, r.pods); err != nil {
		r.unsupported = true
		return nil, err
	}
	return r.apply(ctx, spans, o, lasts, period, prove)
}

// begin opens an episode right before its fault.
func (r *Run) begin(o fault.Object, lasts time.Duration) *Episode {
	e := &Episode{Name: r.Name + ": " + o.GetName(), run: r, lasts: lasts, moment: momentary(o), Window: prom.Window{Namespace: r.Mesh.Namespace, Pods: r.Nodes, Start: time.Now()}}
	if r.Baseline.End.IsZero() {
		r.Baseline.End = e.Window.Start
	}
	return e
}

// momentary reports whether a fault is over as soon as it is there, whatever its object says of how long it lasts: a pod
// that is killed, and a program that ends by itself.
func momentary(o fault.Object) bool {
	switch o := o.(type) {
	case *v1alpha1.Schedule, *batchv1.Job:
		return true
	case interface{ IsOneShot() bool }:
		return o.IsOneShot()
	}
	return false
}

// apply begins the episode of a fault that is there.
func (r *Run) apply(ctx context.Context, spans []lane.Span, o fault.Object, lasts, period time.Duration, prove func(*Episode) proof) (e *Episode, err error) {
	turn, err := r.turn(ctx, "inject "+o.GetName(), spans...)
	if err != nil {
		return nil, verdict.Unproven(err)
	}
	defer func() {
		err = errors.Join(err, verdict.Unproven(turn.Close(reacts)), verdict.Unproven(r.opened()))
	}()
	e = r.begin(o, lasts)
	e.turn = turn
	if e.injection, err = fault.Apply(ctx, r.env.Client.Resources().GetControllerRuntimeClient(), o); err != nil {
		return nil, verdict.Unproven(err)
	}
	e.applied()
	if err := within(ctx, WaitInject+period, e.injection.WaitInjected); err != nil {
		return nil, verdict.Unproven(err)
	}
	e.Times.Injected = now()
	e.Victims = e.injection.Victims()
	e.proof = prove(e)
	err = await(ctx, WaitBite, e.proof.bites)
	if err != nil {
		return nil, verdict.Unproven(fmt.Errorf("the fault does not bite: %w", err))
	}
	e.proven()
	return e, nil
}

// applied notes and tells that the fault is there, or is to be taken for it.
func (e *Episode) applied() {
	e.run.episodes = append(e.run.episodes, e)
	e.run.watch.disturbed()
	applied := live.Event{Kind: live.Applied, Fault: e.fault()}
	if e.lasts > 0 {
		applied.Until = e.Window.Start.Add(e.lasts)
	}
	e.run.env.Live.Send(applied)
}

// proven notes and tells that the fault was seen to bite.
func (e *Episode) proven() {
	e.Times.Proven = now()
	e.run.env.Live.Send(live.Event{Kind: live.Proven, Fault: e.fault()})
}

// AwaitHeal waits until Chaos Mesh has taken the fault back and the proof from
// outside says so, too. It does so once; later calls return at once.
func (e *Episode) AwaitHeal(ctx context.Context) error {
	if e == nil || e.Times.Injected == nil {
		return verdict.Unproven(errors.New("there was no fault"))
	}
	if e.healed {
		return nil
	}
	left := max(time.Until(e.Window.Start.Add(e.lasts+WaitRecover)), WaitRecover) // others may have been waited for meanwhile
	if err := within(ctx, left, e.injection.WaitRecovered); err != nil {
		return verdict.Unproven(err)
	}
	e.ends(time.Now())
	return e.recovered(ctx, "after the recovery that Chaos Mesh reports")
}

// dateSlack is how much earlier than by the suite's clock a fault's time may be up: Chaos Mesh counts from its
// object's creation, in whole seconds.
const dateSlack = time.Second

// ends notes when a fault that lasts was over at the earliest. The first word counts.
func (e *Episode) ends(at time.Time) {
	if due := e.Window.Start.Add(e.lasts - dateSlack); e.lasts > 0 && due.Before(at) {
		at = due
	}
	if !e.moment && e.Until.IsZero() {
		e.Until = at
	}
}

// recovered waits until the proof from outside says that a fault is over that was
// taken back just now.
func (e *Episode) recovered(ctx context.Context, when string) error {
	e.Times.Recovered = now()
	err := await(ctx, WaitHeal, e.proof.over)
	if err != nil {
		return verdict.Unproven(fmt.Errorf("%s: %w", when, err))
	}
	e.healed = true
	e.Window.End = time.Now()
	e.run.watch.calmed()
	e.run.env.Live.Send(live.Event{Kind: live.Healed, Fault: e.fault()})
	return nil
}

// Finish waits until the fault is over. A profile that shortens faults takes it back.
func (e *Episode) Finish(ctx context.Context) error {
	if e != nil && !e.healed && e.run.env.Profile.Fault > 0 {
		return e.End(ctx)
	}
	return e.AwaitHeal(ctx)
}

// End takes the fault back before its time and waits until it is over.
func (e *Episode) End(ctx context.Context) error {
	e.ends(time.Now())
	left, err := e.withdraw(ctx)
	if err == nil && len(left) > 0 {
		err = errors.New(left[0])
	}
	if err != nil {
		return verdict.Unproven(err)
	}
	return e.recovered(ctx, "after the fault was taken back")
}

// leastLeft is how long is asked at least for what should have come by now: two scrapes and a
// bit, which is longer than the bars of seconds.
const leastLeft = 5 * time.Second

// Left is what is left of a wait that began with the fault or, where it is over, with its end:
// what one criterion has waited for in vain need not be waited for by the next.
func (e *Episode) Left(wait time.Duration) time.Duration {
	since := e.Window.Start
	if !e.Window.End.IsZero() {
		since = e.Window.End
	}
	return max(wait-time.Since(since), leastLeft)
}

// withdraw deletes the fault. What it could only force is residue.
func (e *Episode) withdraw(ctx context.Context) ([]string, error) {
	if e.injection == nil {
		return nil, nil
	}
	forced, err := e.injection.Delete(ctx, WaitPatience)
	if err != nil {
		return nil, err
	}
	e.injection = nil
	if err := e.turn.Done(); err != nil {
		return nil, err
	}
	if forced {
		return []string{"the fault could only be deleted by force"}, nil
	}
	return nil, nil
}
