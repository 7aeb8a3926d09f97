package mapek

import (
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Action is one thing to do for one peer.
type Action struct {
	Name     string // one of package metric's actions
	Peer     string
	Incident string
	Type     string // of the incident
	Session  string // that it is about, if it is about one
	Attempt  int    // counts from 1
	Started  time.Time
	Deadline time.Duration
}

// same reports whether two actions would do the same thing.
func (a *Action) same(b *Action) bool {
	return a.Name == b.Name && a.Peer == b.Peer
}

// Plan chooses the actions for what Analyze found and for what failed of the
// last ones. It adds nothing that is running already, and retries an action
// only while its peer still is in need of it and its attempts last. For a peer that
// is blocked there is nothing to do.
func Plan(now time.Time, p *Policy, c *Cases, k *Knowledge, findings []Finding, failed []Outcome, running []Action) []Action {
	var plan []Action
	add := func(a Action) {
		if k.blocked(now, a.Peer) {
			return
		}
		for i := range running {
			if running[i].same(&a) {
				return
			}
		}
		for i := range plan {
			if plan[i].same(&a) {
				return
			}
		}
		a.Deadline = time.Duration(p.Actions[a.Name].Deadline)
		plan = append(plan, a)
	}
	for _, f := range worstFirst(k.relapses(now, p, findings)) {
		if mutant.OpenWithoutPlan && f.Moment == Opened {
			continue
		}
		on := f.Moment
		if on == extended {
			on = Opened
		}
		for _, r := range p.Rules {
			if r.Incident != f.Incident.Type || r.When != on || len(r.Kinds) > 0 && !slices.Contains(r.Kinds, f.Incident.Kind) {
				continue
			}
			for _, name := range k.order(r.Do) {
				for _, peer := range f.Peers {
					if mutant.ReverifyOnePeer && name == metric.ReverifySessions && peer != f.Incident.Peers()[0] {
						continue
					}
					a := Action{Name: name, Peer: peer, Incident: f.Incident.ID, Type: f.Incident.Type, Attempt: 1}
					if s := f.Incident.Subjects[peer]; s != nil {
						a.Session = s.Session
					}
					add(a)
				}
			}
		}
	}
	for _, o := range failed {
		a := o.Action
		if a.Attempt < p.Actions[a.Name].Attempts && c.needs(&a) {
			a.Attempt++
			add(a)
		}
	}
	return plan
}

// worstFirst puts what was found of a high failure rate before the single failures
// that it is made of: what both call for is done under the former.
func worstFirst(findings []Finding) []Finding {
	sorted := slices.Clone(findings)
	slices.SortStableFunc(sorted, func(a, b Finding) int {
		rank := func(f Finding) int {
			if f.Incident.Type == metric.HighFailureRate {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	return sorted
}

// needs reports whether the incident that an action belongs to is still open
// and its peer still not well.
func (c *Cases) needs(a *Action) bool {
	for _, i := range c.open {
		if s := i.Subjects[a.Peer]; i.ID == a.Incident && s != nil {
			if i.Type == metric.HighFailureRate && a.Name == metric.InvalidateSession {
				// What is over here is the rate of a minute. A session that has proved
				// itself since is another one, or sound.
				f := c.find(metric.VerificationFailed, a.Peer)
				return f != nil && !f.Subjects[a.Peer].Verified
			}
			return !s.Verified
		}
	}
	return false
}
