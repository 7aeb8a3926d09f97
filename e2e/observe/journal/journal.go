// Package journal reads what a node's journal says of its incidents: which one an entry
// belongs to, whom it is about, and whether the loop went through its phases in order.
package journal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Match tells whether an entry is one that is looked for.
type Match func(event.Entry) bool

// First returns the first entry after a time that matches.
func First(entries []event.Entry, after time.Time, match Match) (event.Entry, bool) {
	for _, e := range entries {
		if e.Time.After(after) && match(e) {
			return e, true
		}
	}
	return event.Entry{}, false
}

// Last returns the last entry that matches.
func Last(entries []event.Entry, match Match) (event.Entry, bool) {
	for _, e := range slices.Backward(entries) {
		if match(e) {
			return e, true
		}
	}
	return event.Entry{}, false
}

// Between returns the entries after one time and not after another.
func Between(entries []event.Entry, from, to time.Time) []event.Entry {
	var in []event.Entry
	for _, e := range entries {
		if e.Time.After(from) && !e.Time.After(to) {
			in = append(in, e)
		}
	}
	return in
}

// All matches what every one of several matches.
func All(matches ...Match) Match {
	return func(e event.Entry) bool {
		return !slices.ContainsFunc(matches, func(m Match) bool { return !m(e) })
	}
}

// Opened matches the entry with which Analyze opens an incident of a type, or turns one
// into it.
func Opened(incident string) Match {
	return func(e event.Entry) bool { return e.Phase == event.Analyze && e.Kind == incident }
}

// Done matches the entry with which Execute reports that an action's effect was observed.
func Done(action string) Match {
	return func(e event.Entry) bool {
		return e.Phase == event.Execute && e.Kind == action && e.Detail[event.DetailOutcome] == metric.OutcomeDone
	}
}

// Started matches the entry with which Execute begins an action.
func Started(action string) Match {
	return func(e event.Entry) bool {
		return e.Phase == event.Execute && e.Kind == action && e.Detail[event.DetailOutcome] == "started"
	}
}

// Kind matches entries of a kind.
func Kind(kind string) Match { return func(e event.Entry) bool { return e.Kind == kind } }

// About matches entries whose subject is a peer.
func About(peer string) Match { return func(e event.Entry) bool { return e.Subject == peer } }

// Kinds says which kinds of entries a journal holds after a time, for messages that
// something is missing from it.
func Kinds(entries []event.Entry, after time.Time) string {
	var kinds []string
	for _, e := range entries {
		if k := string(e.Phase) + "/" + e.Kind; e.Time.After(after) && !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) == 0 {
		return "nothing at all"
	}
	return strings.Join(kinds, ", ")
}

// Incident is what a journal holds of one incident.
type Incident struct {
	ID string
	// Types are those that it opened as or turned into, in order, and Turned is when.
	Types  []string
	Turned []time.Time
	// Peers are all that Analyze named, sorted; none for one about the node itself.
	Peers []string
	// Opened is when Analyze first named its type, Resolved when it ended, or zero.
	Opened, Resolved time.Time
	// Entries are all of its entries, in order.
	Entries []event.Entry
}

// Is reports whether the incident was of a type at any time.
func (i Incident) Is(typ string) bool { return slices.Contains(i.Types, typ) }

func (i Incident) String() string {
	return fmt.Sprintf("%s %s about %s at %s", i.ID, strings.Join(i.Types, "→"), strings.Join(i.Peers, ","), i.Opened.UTC().Format("15:04:05.000"))
}

// Incidents returns the incidents that opened after one time and not after another,
// oldest first. What a journal holds of them later counts, too.
func Incidents(entries []event.Entry, from, to time.Time) []Incident {
	byID, order := map[string]*Incident{}, []string{}
	for _, e := range entries {
		if e.Incident == "" {
			continue
		}
		i := byID[e.Incident]
		if i == nil {
			i = &Incident{ID: e.Incident}
			byID[e.Incident], order = i, append(order, e.Incident)
		}
		i.add(e)
	}
	var in []Incident
	for _, id := range order {
		if i := byID[id]; i.Opened.After(from) && !i.Opened.After(to) {
			in = append(in, *i)
		}
	}
	slices.SortStableFunc(in, func(a, b Incident) int { return a.Opened.Compare(b.Opened) })
	return in
}

func (i *Incident) add(e event.Entry) {
	i.Entries = append(i.Entries, e)
	if e.Phase != event.Analyze {
		return
	}
	if e.Kind == event.Resolved {
		i.Resolved = e.Time
		return
	}
	if i.Opened.IsZero() {
		i.Opened = e.Time
	}
	if !slices.Contains(i.Types, e.Kind) {
		i.Types, i.Turned = append(i.Types, e.Kind), append(i.Turned, e.Time)
	}
	for p := range strings.SplitSeq(e.Detail[event.DetailPeers], ",") {
		if p != "" && !slices.Contains(i.Peers, p) {
			i.Peers = append(i.Peers, p)
		}
	}
	slices.Sort(i.Peers)
}

// Phases of the loop, in order, each of which must have a part in healing.
var phases = []event.Phase{event.Monitor, event.Analyze, event.Plan, event.Execute, event.Knowledge}

// Ordered checks that the incident has an entry of every phase, and that each phase began
// no earlier than the one before it: by the entries' numbers, which one node gives.
func (i Incident) Ordered() error {
	var last event.Entry
	for k, p := range phases {
		n := slices.IndexFunc(i.Entries, func(e event.Entry) bool { return e.Phase == p })
		if n < 0 {
			return fmt.Errorf("incident %s has no entry of phase %s", i, p)
		}
		e := i.Entries[n]
		if k > 0 && e.Seq < last.Seq {
			return fmt.Errorf("incident %s: %s/%s came before %s/%s", i, e.Phase, e.Kind, last.Phase, last.Kind)
		}
		last = e
	}
	return nil
}
