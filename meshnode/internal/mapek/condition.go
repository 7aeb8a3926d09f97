package mapek

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Condition is a state of a node that the layer that knows it has judged: on from one
// signal to the next. Each that is on is an incident of its type, one per subject, and
// ends with it.
type Condition struct {
	Type   string // an incident type
	Kind   string // of what that has kinds; it may change while the condition is on
	On     bool
	Reason string
}

// conditioned makes a symptom of a signal that changes a condition.
func (v *View) conditioned(s Signal) (Symptom, bool) {
	key := [2]string{s.Condition.Type, s.Peer}
	before, on := v.conditions[key]
	if on == s.Condition.On && (!on || before == s.Condition.Kind) {
		return Symptom{}, false
	}
	kind := event.ConditionRaised
	if s.Condition.On {
		if v.conditions == nil {
			v.conditions = map[[2]string]string{}
		}
		v.conditions[key] = s.Condition.Kind
	} else {
		kind = event.ConditionEnded
		delete(v.conditions, key)
	}
	return Symptom{Kind: kind, Peer: s.Peer, Time: s.Time, Since: s.Since, Type: s.Condition.Type, Of: s.Condition.Kind, Reason: s.Condition.Reason}, true
}

// forgetConditions drops those about a peer that is gone.
func (v *View) forgetConditions(peer string) {
	for key := range v.conditions {
		if key[1] == peer {
			delete(v.conditions, key)
		}
	}
}

// raised opens the incident of a condition, or notes that it has turned into another kind.
func (c *Cases) raised(now time.Time, s Symptom) []Finding {
	if i := c.find(s.Type, s.Peer); i != nil {
		if i.Kind == s.Of {
			return nil
		}
		if i.Kind == metric.FaultQuota { // which was no fault of the disk
			i.last, i.told = now, false
		}
		i.Kind, i.Reason = s.Of, s.Reason
		return []Finding{{Moment: extended, Incident: i, Peers: i.Peers()}}
	}
	i := c.add(&Incident{Type: s.Type, Kind: s.Of, Reason: s.Reason, Since: s.Since, Opened: now})
	if i.Type == metric.StorageFault {
		i.last = now
	}
	i.Subjects[s.Peer] = &Subject{}
	return []Finding{{Moment: Opened, Incident: i, Peers: i.Peers()}}
}

// lasts notes once that a fault of the store lasts for so long that the node is to be
// replaced, or is one that does not end.
func (c *Cases) lasts(now time.Time, p *Policy, i *Incident) []Finding {
	if i.Type != metric.StorageFault || i.told || i.Kind == metric.FaultQuota {
		return nil
	}
	if i.Kind != metric.FaultLost && now.Sub(i.last) < time.Duration(p.Storage.Replace) {
		return nil
	}
	i.told = true
	return []Finding{{Moment: Lasting, Incident: i, Peers: i.Peers()}}
}

// ended ends it.
func (c *Cases) ended(now time.Time, s Symptom) []Finding {
	i := c.find(s.Type, s.Peer)
	if i == nil {
		return nil
	}
	i.Subjects[s.Peer].Verified = true
	return []Finding{c.resolve(now, i)}
}
