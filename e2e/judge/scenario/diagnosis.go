package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Diagnosis is what may be found on any node while an episode lasts, and in its tail.
//
// Chaos Mesh injects a fault pod by pod. Until the last one is done, a node sees a part of
// it, and may take that for what it is: when a first pod is cut from everybody, it is as
// good as dead. So an incident counts as what it had become by the time that the fault was
// proven, if that is allowed.
type Diagnosis struct {
	From, To  time.Time
	Whole     time.Time // when the fault was proven
	Incidents []string
	// About are the only peers that they may name; none: any.
	About []string
}

// diagnosed is a fault that says what may be found because of it. One that does not allows
// nothing.
type diagnosed interface{ diagnosis() Diagnosis }

// diagnosis of a partition: one link that is cut is no partition, and its ends are slow for as
// long as who relays for them is.
func (p *Partition) diagnosis() Diagnosis {
	if len(p.Cut) > 1 {
		return p.may(metric.NetworkPartition)
	}
	if p.besideDelay() {
		return p.may(metric.LinkFailure, metric.LatencySLO)
	}
	return p.may(metric.LinkFailure)
}

// diagnosis of an attack on signatures: one by nobody of the mesh must be found nowhere.
func (a *Attack) diagnosis() Diagnosis {
	if a.Suspect == "" {
		return a.may()
	}
	return a.may(metric.VerificationFailed, metric.HighFailureRate).only(a.Suspect)
}

func (c *Crash) diagnosis() Diagnosis   { return c.may(metric.NodeCrash).only(c.Victim) }
func (f *Failure) diagnosis() Diagnosis { return f.may(metric.NodeCrash).only(f.Victim) }
func (d *Delay) diagnosis() Diagnosis   { return d.may(metric.LatencySLO) }
func (s *Stress) diagnosis() Diagnosis {
	return s.may(metric.ResourceExhaustion, metric.LatencySLO).only(s.Victim)
}

func (s *Storage) diagnosis() Diagnosis { return s.may(metric.StorageFault).only(s.Victim) }

func (s *Skew) diagnosis() Diagnosis { return s.may(metric.ClockSkew).only(s.Victims...) }

// besideDelay reports whether the network was delayed while the partition was there.
func (p *Partition) besideDelay() bool {
	return slices.ContainsFunc(p.run.faults, func(f disturbed) bool {
		d, ok := f.(*Delay)
		return ok && d.Window.Start.Before(p.Window.End) && p.Window.Start.Before(d.Window.End)
	})
}

// may returns the diagnosis that an episode allows: incidents of these types, and no
// others.
func (e *Episode) may(incidents ...string) Diagnosis {
	w := e.Tailed()
	d := Diagnosis{From: w.Start, To: w.End, Incidents: incidents}
	if e.Times.Proven != nil {
		d.Whole = *e.Times.Proven
	}
	return d
}

// only returns the diagnosis limited to incidents about some peers.
func (d Diagnosis) only(peers ...string) Diagnosis {
	d.About = peers
	return d
}

// AwaitTails waits until every fault of the run is over, and its tail.
func (r *Run) AwaitTails(ctx context.Context) error {
	for _, f := range r.faults {
		e := f.episode()
		if e.aside {
			continue
		}
		if err := e.AwaitHeal(ctx); err != nil {
			return err
		}
		if err := e.AwaitTail(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Misdiagnoses names the incidents that opened on any node from the first fault to the tail of
// the last one and that no fault of that time calls for: by the journals of the pods that stand under the
// names that were deployed, and by what guests counted. All faults that the scenario names must
// have been there, unless one cannot be in this cluster.
func (r *Run) Misdiagnoses(ctx context.Context) ([]string, error) {
	if len(r.faults) < len(r.Fixtures) && !r.unsupported {
		return nil, verdict.Unproven(fmt.Errorf("%d of the scenario's %d faults were there", len(r.faults), len(r.Fixtures)))
	}
	var allowed []Diagnosis
	for _, f := range r.faults {
		if d, ok := f.(diagnosed); ok {
			allowed = append(allowed, d.diagnosis())
		}
	}
	return r.misdiagnoses(ctx, allowed)
}

func (r *Run) misdiagnoses(ctx context.Context, allowed []Diagnosis) ([]string, error) {
	from, to := time.Time{}, time.Time{}
	for _, d := range allowed {
		if d.From.IsZero() || d.To.IsZero() {
			return nil, verdict.Unproven(errors.New("a fault of the scenario was not there, or is not over"))
		}
		if from.IsZero() || d.From.Before(from) {
			from = d.From
		}
		if d.To.After(to) {
			to = d.To
		}
	}
	if now := time.Now(); now.Before(to) {
		return nil, verdict.Unproven(fmt.Errorf("what is to be judged is over in %v only", to.Sub(now).Round(time.Second)))
	}
	logs, err := r.Journals(ctx, r.Nodes)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, n := range r.Nodes {
		wrong = append(wrong, misdiagnosed(n, logs[n], from, to, allowed)...)
	}
	guests, err := r.guests(ctx, from, to)
	if err != nil {
		return nil, err
	}
	for _, g := range guests {
		wrong = append(wrong, g.misdiagnosed(allowed)...)
	}
	return wrong, nil
}

// misdiagnosed names the incidents in one node's journal that nothing allows.
func misdiagnosed(node string, entries []event.Entry, from, to time.Time, allowed []Diagnosis) []string {
	var wrong []string
	for _, i := range journal.Incidents(entries, from, to) {
		if !slices.ContainsFunc(allowed, func(d Diagnosis) bool { return d.covers(i) }) {
			wrong = append(wrong, node+": "+i.String())
		}
	}
	return wrong
}

// covers reports whether an incident is one that the diagnosis allows, whatever it turned
// into.
func (d Diagnosis) covers(i journal.Incident) bool {
	if i.Opened.Before(d.From) || i.Opened.After(d.To) {
		return false
	}
	last := len(i.Types) - 1
	for k, t := range i.Types {
		passing := k < last && i.Turned[k+1].Before(d.Whole)
		if !passing && !slices.Contains(d.Incidents, t) {
			return false
		}
	}
	for _, p := range i.Peers {
		if len(d.About) > 0 && !slices.Contains(d.About, p) {
			return false
		}
	}
	return true
}
