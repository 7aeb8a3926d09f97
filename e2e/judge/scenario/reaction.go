package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// Reactions are how long each of several, nodes or pairs of them, took to
// react.
type Reactions map[string]time.Duration

// Worst returns the slowest and who it was.
func (r Reactions) Worst() (who string, took time.Duration) {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if who == "" || r[name] > took {
			who, took = name, r[name]
		}
	}
	return who, took
}

func (r Reactions) String() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(r)) {
		lines = append(lines, fmt.Sprintf("%s %v", name, r[name].Round(time.Millisecond)))
	}
	return strings.Join(lines, "\n")
}

// First returns the first entry of a journal after a time that match wants.
func First(journal []event.Entry, after time.Time, match func(event.Entry) bool) (event.Entry, bool) {
	for _, e := range journal {
		if e.Time.After(after) && match(e) {
			return e, true
		}
	}
	return event.Entry{}, false
}

// Opened matches the entry with which Analyze opens an incident of a type, or
// turns one into it.
func Opened(incident string) func(event.Entry) bool {
	return func(e event.Entry) bool { return e.Phase == event.Analyze && e.Kind == incident }
}

// Done matches the entry with which Execute reports that an action's effect
// was observed.
func Done(action string) func(event.Entry) bool {
	return func(e event.Entry) bool {
		return e.Phase == event.Execute && e.Kind == action && e.Detail[event.DetailOutcome] == "done"
	}
}

// Verified matches the entry that tells that the session with a peer is
// verified, for the first time or after a gap.
func Verified(peer string) func(event.Entry) bool {
	return func(e event.Entry) bool { return e.Kind == event.SessionVerified && e.Subject == peer }
}

// Relayed matches the entry that tells that a peer, whose link was lost, is heard
// through a relay.
func Relayed(peer string) func(event.Entry) bool {
	return func(e event.Entry) bool { return e.Kind == event.PeerRelayed && e.Subject == peer }
}

// Kinds says which kinds of entries a journal holds after a time, for messages
// that something is missing from it.
func Kinds(journal []event.Entry, after time.Time) string {
	var kinds []string
	for _, e := range journal {
		if k := string(e.Phase) + "/" + e.Kind; e.Time.After(after) && !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) == 0 {
		return "nothing at all"
	}
	return strings.Join(kinds, ", ")
}
