package mapek

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Record is what Knowledge keeps of an incident.
type Record struct {
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	Peers    []string  `json:"peers"`
	Opened   time.Time `json:"opened"`
	Resolved time.Time `json:"resolved"`
	Resource string    `json:"resource,omitempty"`
	Kind     string    `json:"kind,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Actions  []Did     `json:"done,omitempty"`
}

// Did is an action that ended.
type Did struct {
	Name    string `json:"name"`
	Peer    string `json:"peer"`
	Outcome string `json:"outcome"`
}

// record is what is kept of an incident.
func (i *Incident) record() Record {
	return Record{
		ID: i.ID, Type: i.Type, Peers: i.Peers(), Opened: i.Opened, Resolved: i.Resolved,
		Resource: i.Resource, Kind: i.Kind, Reason: i.Reason, Actions: i.Actions,
	}
}

// maxDid bounds the actions that are kept of an incident.
const maxDid = 64

// note adds an action that ended if there is room.
func note(actions []Did, o Outcome) []Did {
	if len(actions) >= maxDid {
		return actions
	}
	return append(actions, Did{Name: o.Name, Peer: o.Peer, Outcome: o.outcome()})
}

// Tally counts the outcomes of an action.
type Tally struct {
	Done   int `json:"done"`
	Failed int `json:"failed"`
}

// maxRecords bounds Knowledge: older incidents are forgotten.
const maxRecords = 256

// Knowledge is what the loop has learned. It survives restarts.
type Knowledge struct {
	Incidents []Record          `json:"incidents"`
	Actions   map[string]*Tally `json:"actions"`
	Threats   []Threat          `json:"threats"`
	Latency   []Latency         `json:"latency,omitempty"`
	// Exhaustion is nil while this node has never lacked resources.
	Exhaustion *Exhaustion `json:"exhaustion,omitempty"`
}

// LoadKnowledge decodes what Encode gave; no bytes give an empty Knowledge.
func LoadKnowledge(b []byte) (*Knowledge, error) {
	k := &Knowledge{}
	if len(b) > 0 {
		if err := json.Unmarshal(b, k); err != nil {
			return nil, fmt.Errorf("knowledge: %w", err)
		}
	}
	if k.Actions == nil {
		k.Actions = make(map[string]*Tally)
	}
	for name, t := range k.Actions {
		if t == nil {
			delete(k.Actions, name)
		}
	}
	k.trim()
	return k, nil
}

// Encode returns k as JSON.
func (k *Knowledge) Encode() ([]byte, error) { return json.Marshal(k) }

func (k *Knowledge) trim() {
	if n := len(k.Incidents) - maxRecords; n > 0 {
		k.Incidents = slices.Delete(k.Incidents, 0, n)
	}
	k.boundThreats()
	k.boundLatency()
}

// Learn keeps resolved incidents, the outcomes of actions, what peers did and how
// links and this node fared, and reports whether there was anything to keep.
func (k *Knowledge) Learn(now time.Time, p *Policy, findings []Finding, ended []Outcome) bool {
	learned := len(ended) > 0
	learned = k.learnThreats(now, p, findings, ended) || learned
	learned = k.learnPatterns(now, findings) || learned
	for _, o := range ended {
		t := k.Actions[o.Name]
		if t == nil {
			t = &Tally{}
			k.Actions[o.Name] = t
		}
		if o.Err == nil {
			t.Done++
		} else {
			t.Failed++
		}
	}
	for _, f := range findings {
		if f.Moment == Over {
			i := f.Incident
			k.Incidents = append(k.Incidents, i.record())
			learned = true
		}
	}
	for _, o := range ended { // of incidents that are over
		if i := slices.IndexFunc(k.Incidents, func(r Record) bool { return r.ID == o.Incident }); i >= 0 {
			k.Incidents[i].Actions = note(k.Incidents[i].Actions, o)
		}
	}
	k.trim()
	return learned
}

// rate is the share of an action's outcomes that were done; an action that was
// never tried gets the benefit of the doubt.
func (k *Knowledge) rate(action string) float64 {
	t := k.Actions[action]
	if t == nil {
		return 1
	}
	return float64(t.Done+1) / float64(t.Done+t.Failed+1)
}

// order puts the actions that worked best first and keeps a rule's order among
// equals.
func (k *Knowledge) order(actions []string) []string {
	sorted := slices.Clone(actions)
	slices.SortStableFunc(sorted, func(a, b string) int {
		ra, rb := k.rate(a), k.rate(b)
		switch {
		case ra > rb:
			return -1
		case ra < rb:
			return 1
		}
		return 0
	})
	return sorted
}
