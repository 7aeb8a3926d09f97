package verify

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// maxShown bounds how many records an error names.
const maxShown = 5

// Verdict is what Set found.
type Verdict struct {
	// Acknowledged is the number of records whose write was acknowledged.
	Acknowledged int
	// Lost are acknowledged records that a node does not list.
	Lost []Defect
	// Doubled are records that a node lists more than once.
	Doubled []Defect
	// Changed are acknowledged records that a node has with other content.
	Changed []Defect
	// Phantom are records that a node lists and nobody wrote.
	Phantom []Defect
	// Forgotten are reads that came back with "no such record" from the very
	// node that had acknowledged the write before they began.
	Forgotten []Defect
}

// Defect is a record that is wrong on a node.
type Defect struct{ ID, Node string }

// Set judges a history against what each node lists in the end, as Jepsen's
// checker set-full does for a set: what was acknowledged is readable
// everywhere, exactly once, and nothing else is there. A write of unknown
// result may be there or not, but not twice. Clients may go on writing while
// the nodes are listed: only what was acknowledged until settled has to be
// there, while any write of the history may.
//
// The guarantee that it checks: "accepted when fsynced locally and held by one
// reachable peer (locally alone if none is reachable); both sides of a
// partition stay writable and merge after it".
func Set(ops []api.Operation, settled time.Time, listed map[string][]string, changed []Defect) Verdict {
	acknowledged := map[string]bool{}
	attempted := map[string]bool{}
	firstAck := map[Defect]time.Time{}
	for _, o := range ops {
		if o.Op != api.OpWrite {
			continue
		}
		if o.Result != api.Failed {
			attempted[o.ID] = true
		}
		if o.Result == api.OK && !o.Returned.After(settled) {
			acknowledged[o.ID] = true
			key := Defect{o.ID, o.Node}
			if at, ok := firstAck[key]; !ok || o.Returned.Before(at) {
				firstAck[key] = o.Returned
			}
		}
	}
	v := Verdict{Acknowledged: len(acknowledged), Changed: changed}
	for _, node := range slices.Sorted(maps.Keys(listed)) {
		count := map[string]int{}
		for _, id := range listed[node] {
			count[id]++
		}
		for _, id := range slices.Sorted(maps.Keys(acknowledged)) {
			if count[id] == 0 {
				v.Lost = append(v.Lost, Defect{id, node})
			}
		}
		for _, id := range slices.Sorted(maps.Keys(count)) {
			if count[id] > 1 {
				v.Doubled = append(v.Doubled, Defect{id, node})
			}
			if !attempted[id] {
				v.Phantom = append(v.Phantom, Defect{id, node})
			}
		}
	}
	for _, o := range ops {
		at, acked := firstAck[Defect{o.ID, o.Node}]
		if o.Op == api.OpRead && o.Result == api.OK && !o.Found && acked && !o.Invoked.Before(at) {
			v.Forgotten = append(v.Forgotten, Defect{o.ID, o.Node})
		}
	}
	return v
}

// Defects is how many records are wrong, counted once per node.
func (v Verdict) Defects() int {
	return len(v.Lost) + len(v.Doubled) + len(v.Changed) + len(v.Phantom) + len(v.Forgotten)
}

// Err returns nil if the guarantee held.
func (v Verdict) Err() error {
	var parts []string
	say := func(what string, defects []Defect) {
		if len(defects) == 0 {
			return
		}
		var shown []string
		for _, d := range defects[:min(len(defects), maxShown)] {
			shown = append(shown, d.ID+" on "+d.Node)
		}
		if len(defects) > maxShown {
			shown = append(shown, "…")
		}
		parts = append(parts, fmt.Sprintf("%d %s (%s)", len(defects), what, strings.Join(shown, ", ")))
	}
	say("lost", v.Lost)
	say("doubled", v.Doubled)
	say("with other content", v.Changed)
	say("never written", v.Phantom)
	say("forgotten by the node that acknowledged them", v.Forgotten)
	if len(parts) == 0 {
		return nil
	}
	return fmt.Errorf("of %d acknowledged records: %s; acknowledged means kept, everywhere and once", v.Acknowledged, strings.Join(parts, "; "))
}

// Tally is how many writes a node was asked for and how many it acknowledged.
type Tally struct{ Tried, Acknowledged int }

// Writes tallies per node the writes that began and ended between two times.
func Writes(ops []api.Operation, from, to time.Time) map[string]Tally {
	tallies := map[string]Tally{}
	for _, o := range ops {
		if o.Op != api.OpWrite || o.Invoked.Before(from) || o.Returned.After(to) {
			continue
		}
		t := tallies[o.Node]
		t.Tried++
		if o.Result == api.OK {
			t.Acknowledged++
		}
		tallies[o.Node] = t
	}
	return tallies
}

// Acknowledged returns the ids of the records that were acknowledged until a time, sorted,
// and the length of each one's body.
func Acknowledged(ops []api.Operation, until time.Time) (ids []string, sizes map[string]int) {
	sizes = map[string]int{}
	for _, o := range ops {
		if o.Op == api.OpWrite && o.Result == api.OK && !o.Returned.After(until) {
			ids = append(ids, o.ID)
			sizes[o.ID] = o.Size
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), sizes
}

// Intact reports whether a record's body is the one that a client gave it, whole.
func Intact(id string, body []byte, size int) bool {
	return bytes.Equal(body, api.RecordBody(id, size))
}

// Last returns when the last operation of a history returned.
func Last(ops []api.Operation) time.Time {
	var last time.Time
	for _, o := range ops {
		if o.Returned.After(last) {
			last = o.Returned
		}
	}
	return last
}
