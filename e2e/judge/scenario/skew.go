package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Skew is a fault of the clocks of some nodes.
type Skew struct {
	*Episode
	// Right are the nodes whose clocks are right. Only their journals' times can be judged.
	Right []string
}

// SkewClocks sets the clocks of nodes by a fixture, and proves from outside that exactly they have a clock that
// is not the kernel's.
func (r *Run) SkewClocks(ctx context.Context, fixture string) (*Skew, error) {
	o, err := r.load(fixture)
	if err != nil {
		return nil, err
	}
	if _, ok := o.(*v1alpha1.TimeChaos); !ok {
		return nil, fmt.Errorf("%T %s is no fault of clocks", o, o.GetName())
	}
	s := &Skew{}
	s.Episode, err = r.inject(ctx, o, func(e *Episode) proof {
		s.Right = slices.DeleteFunc(slices.Clone(r.Nodes), func(n string) bool { return slices.Contains(e.Victims, n) })
		return proof{
			bites: func(ctx context.Context) error { return r.fakeClocks(ctx, e.Victims) },
			over:  func(ctx context.Context) error { return r.fakeClocks(ctx, nil) },
		}
	})
	return note(r, s, err)
}

// fakeClocks checks that these nodes have fake clocks, and no others.
func (r *Run) fakeClocks(ctx context.Context, nodes []string) error {
	x := r.env.Client.Resources()
	for _, p := range r.pods {
		faked, err := fault.FakeClock(ctx, x.GetControllerRuntimeClient(), x, p)
		if err != nil {
			return err
		}
		if want := slices.Contains(nodes, p.Name); faked != want {
			return fmt.Errorf("pod %s has a fake clock: %v, want %v", p.Name, faked, want)
		}
	}
	return nil
}

// skewedAt returns, in the journal of a node whose clock is right, the incidents by whose clock they are about.
func (s *Skew) skewedAt(ctx context.Context, node string) (map[string]journal.Incident, error) {
	entries, err := s.run.Journal(ctx, node)
	if err != nil {
		return nil, err
	}
	about := map[string]journal.Incident{}
	for _, i := range journal.Incidents(entries, s.Window.Start, s.Tailed().Until(now().Add(Tail))) {
		if !i.Is(metric.ClockSkew) {
			continue
		}
		for _, p := range i.Peers {
			if _, twice := about[p]; twice {
				return nil, verdict.Shortf("%s names the clock of %s twice", node, p)
			}
			about[p] = i
		}
	}
	return about, nil
}

// Recognised returns how long after the clocks were seen to be fake each node whose clock is right had named every
// one of them, and says how they are wrong. It may name no others. That came before the proof counts as 0: the
// daemon sets clocks one by one. Their clocks are compared with this machine's.
func (s *Skew) Recognised(ctx context.Context) (verdict.Times, error) {
	took := verdict.Times{}
	for _, n := range s.Right {
		about, err := s.skewedAt(ctx, n)
		if err != nil {
			return nil, err
		}
		if named := slices.Sorted(maps.Keys(about)); !slices.Equal(named, s.Victims) {
			return nil, verdict.Shortf("%s names the clocks of %v, not of %v", n, named, s.Victims)
		}
		for _, v := range s.Victims {
			i := about[v]
			if k := slices.IndexFunc(i.Entries, func(e event.Entry) bool { return e.Phase == event.Analyze && e.Detail[event.DetailReason] != "" }); k < 0 {
				return nil, verdict.Shortf("%s does not say how the clock of %s is wrong", n, v)
			}
			took[n+", of "+v] = max(i.Opened.Sub(s.Window.Start), 0)
		}
	}
	return took, nil
}

// Steady names the nodes that had a session less than verified with every other at any time of the episode, or made
// a new one.
func (s *Skew) Steady(ctx context.Context) ([]string, error) {
	verified, err := s.run.Prom.Spread(metric.Sessions, prom.Labels{metric.LabelState: metric.StateVerified}, s.Window)(ctx)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, n := range s.run.Nodes {
		if least := verified[n].Least; least != float64(len(s.run.Nodes)-1) {
			left = append(left, fmt.Sprintf("%s had %v verified sessions", n, least))
		}
		w := s.Window
		w.Pods = []string{n}
		made, err := s.run.Prom.Total(metric.SessionsEstablishedTotal, nil, w)(ctx)
		if err != nil {
			return nil, err
		}
		if made > 0 {
			left = append(left, fmt.Sprintf("%s made %v sessions", n, made))
		}
	}
	return left, nil
}

// Losses returns how often any node lost a peer in the episode and its tail: who has lost none was never alone.
func (s *Skew) Losses(ctx context.Context) (float64, error) {
	return s.run.Prom.Total(metric.PeerUnreachable, nil, s.Tailed())(ctx)
}

// Lingers names what is left of the fault: open incidents, and times that are wrong.
func (s *Skew) Lingers(ctx context.Context) ([]string, error) {
	var left []string
	for _, n := range s.run.Nodes {
		status, err := s.run.Status(ctx, n)
		if err != nil {
			return nil, err
		}
		for _, i := range status.Incidents {
			if i.Resolved.IsZero() {
				left = append(left, fmt.Sprintf("%s has an open %s about %v", n, i.Type, i.Peers))
			}
		}
		off, err := Read(ctx, func(ctx context.Context) (d float64, err error) {
			skew, err := s.run.Mesh.Skew(ctx, n)
			return skew.Seconds(), err
		})
		if err != nil {
			return nil, err
		}
		if off > maxLeftSkew {
			left = append(left, fmt.Sprintf("the clock of %s is still %g s off", n, off))
		}
	}
	return left, nil
}

// maxLeftSkew is how far a node's time may be off in the end, in seconds.
const maxLeftSkew = 1.0

// Loop is what the loop of a lone victim is expected to do: it corrects what it stamps. Its journal's times are
// wrong up to there; in a mesh of its own the one incident of a clock is this episode's.
func (s *Skew) Loop() *Loop {
	about := map[string][]string{}
	for _, n := range s.Victims {
		about[n] = nil
	}
	l := s.Expect(Loop{Incident: metric.ClockSkew, About: about, Symptoms: []string{event.ConditionRaised}, Actions: []string{metric.CorrectClock}})
	l.From, l.To = l.From.Add(-fault.MostSkew), l.To.Add(fault.MostSkew)
	return l
}

// Corrected checks that a victim's journal has the mesh's time once its clock is corrected: the
// entry that says so is from the time of the fault, by everybody else's clock.
func (s *Skew) Corrected(ctx context.Context) error {
	from, to := s.Window.Start.Add(-time.Second), s.Tailed().End.Add(time.Second)
	for _, v := range s.Victims {
		entries, err := s.run.Journal(ctx, v)
		if err != nil {
			return err
		}
		e, ok := journal.Last(entries, journal.Done(metric.CorrectClock))
		if !ok {
			return verdict.Shortf("%s has not corrected its clock", v)
		}
		if e.Time.Before(from) || e.Time.After(to) {
			return verdict.Shortf("%s corrected its clock at %s by its own stamp, and the fault was from %s to %s", v,
				e.Time.UTC().Format(time.TimeOnly), s.Window.Start.UTC().Format(time.TimeOnly), s.Window.End.UTC().Format(time.TimeOnly))
		}
	}
	return nil
}

// Measured checks that every node whose clock is right measures how wrong the victims' are.
func (s *Skew) Measured(ctx context.Context) error {
	for _, v := range s.Victims {
		w := s.Window
		w.Pods = s.Right
		seen, err := s.run.Prom.Spread(metric.ClockOffset, prom.Labels{metric.LabelPeer: v}, w)(ctx)
		if err != nil {
			return err
		}
		for _, n := range s.Right {
			if most := max(seen[n].Most, -seen[n].Least); most < fault.LeastSkew.Seconds() {
				return verdict.Shortf("%s measures %v s between its clock and that of %s at most", n, most, v)
			}
		}
	}
	return nil
}

// Remembered checks that the victims and the others remember whose clock was wrong.
func (s *Skew) Remembered(ctx context.Context) error {
	for _, n := range s.run.Nodes {
		k, err := s.run.Knowledge(ctx, n)
		if err != nil {
			return err
		}
		for _, v := range s.Victims {
			kind := metric.ClockPeer
			if n == v {
				kind = metric.ClockOwn
			}
			if !slices.ContainsFunc(k.Events, func(e api.Event) bool {
				return e.Type == metric.ClockSkew && e.Kind == kind && slices.Equal(e.Peers, []string{v}) && e.Reason != ""
			}) {
				return verdict.Shortf("%s does not remember that the clock of %s was wrong", n, v)
			}
		}
	}
	return nil
}
