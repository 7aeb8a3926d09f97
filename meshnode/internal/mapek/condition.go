package mapek

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// Condition is a state of a node that the layer that knows it has judged: on from one
// signal to the next. Each that is on is an incident of its type, one per subject, and
// ends with it.
type Condition struct {
	Type   string // an incident type
	On     bool
	Reason string
}

// conditioned makes a symptom of a signal that changes a condition.
func (v *View) conditioned(s Signal) (Symptom, bool) {
	key := [2]string{s.Condition.Type, s.Peer}
	if v.conditions[key] == s.Condition.On {
		return Symptom{}, false
	}
	kind := event.ConditionRaised
	if s.Condition.On {
		if v.conditions == nil {
			v.conditions = map[[2]string]bool{}
		}
		v.conditions[key] = true
	} else {
		kind = event.ConditionEnded
		delete(v.conditions, key)
	}
	return Symptom{Kind: kind, Peer: s.Peer, Time: s.Time, Since: s.Since, Type: s.Condition.Type, Reason: s.Condition.Reason}, true
}

// forgetConditions drops those about a peer that is gone.
func (v *View) forgetConditions(peer string) {
	for key := range v.conditions {
		if key[1] == peer {
			delete(v.conditions, key)
		}
	}
}

// raised opens the incident of a condition.
func (c *Cases) raised(now time.Time, s Symptom) []Finding {
	if c.find(s.Type, s.Peer) != nil {
		return nil
	}
	i := c.add(&Incident{Type: s.Type, Since: s.Since, Opened: now})
	i.Subjects[s.Peer] = &Subject{}
	return []Finding{{Moment: Opened, Incident: i, Peers: i.Peers()}}
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
