package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// checker judges a history of operations on several stores, in the manner of
// Jepsen's set-full: every acknowledged record is on every store in the end
// (else it is lost), no store forgets what it has shown, nothing is there twice
// and nothing that no one wrote. What an acknowledged record needs until every
// store shows it is not wrong but stale, and counted.
type checker struct {
	attempts map[string]map[string]bool // id -> bodies that a client sent
	acked    map[string]ack
	shown    map[string]map[string]bool // store -> ids
	disks    map[string]int             // node -> disks that it lost
	places   map[position]string        // -> id
	wrong    []string
	counts   counts
}

type ack struct {
	at      time.Duration
	holders map[string]int // node -> disks that it had lost
}

// counts shows that a run tests anything at all.
type counts struct {
	Acked, Alone, Refused, Unknown, Contested, Excused     int
	Reads, Stale                                           int
	Cuts, Crashes, Torn, TornWhole, DisksLost, FalseAlarms int
	MessagesLost, Doubled, Reordered                       int
	ClockSteps, ClockDrifts, WrongStarts                   int
	MaxStale                                               time.Duration
}

func newChecker() *checker {
	return &checker{
		attempts: map[string]map[string]bool{}, acked: map[string]ack{}, shown: map[string]map[string]bool{},
		disks: map[string]int{}, places: map[position]string{},
	}
}

func (c *checker) fail(format string, args ...any) {
	if len(c.wrong) < 20 {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

func (c *checker) attempt(id, body string) {
	if c.attempts[id] == nil {
		c.attempts[id] = map[string]bool{}
	}
	c.attempts[id][body] = true
}

// diskCounts is to be taken when an operation begins: a holder whose disk is
// lost later no longer counts.
func (c *checker) diskCounts() map[string]int { return maps.Clone(c.disks) }

func (c *checker) acknowledge(at time.Duration, id string, holders []string, disks map[string]int) {
	c.counts.Acked++
	if len(holders) == 1 {
		c.counts.Alone++
	}
	a, known := c.acked[id]
	if !known {
		a = ack{at: at, holders: map[string]int{}}
	}
	for _, h := range holders {
		a.holders[h] = disks[h]
	}
	c.acked[id] = a
}

// loseDisk begins a new store for a node.
func (c *checker) loseDisk(node string) {
	c.disks[node]++
	c.counts.DisksLost++
	delete(c.shown, node)
}

// record judges one record that a node returned.
func (c *checker) record(node string, r *Record) {
	if !c.attempts[r.ID][string(r.Body)] {
		c.fail("%s shows %q with a body of %d bytes that no one sent", node, r.ID, len(r.Body))
	}
	p := r.position()
	if other, taken := c.places[p]; taken && other != r.ID {
		c.fail("%s shows both %q and %q under number %d of %s", node, other, r.ID, r.Seq, r.Origin)
	}
	c.places[p] = r.ID
}

// read judges a complete list, which began when begun was shown and acked was
// acknowledged.
func (c *checker) read(at time.Duration, node string, list []Record) {
	c.counts.Reads++
	shown := c.shown[node]
	if shown == nil {
		shown = map[string]bool{}
		c.shown[node] = shown
	}
	now := map[string]bool{}
	for i := range list {
		r := &list[i]
		if now[r.ID] {
			c.fail("%s lists %q twice", node, r.ID)
		}
		now[r.ID] = true
		c.record(node, r)
	}
	for _, id := range slices.Sorted(maps.Keys(shown)) {
		if !now[id] {
			c.fail("%q has vanished from %s", id, node)
		}
	}
	maps.Copy(shown, now)
	for id, a := range c.acked {
		if !now[id] {
			c.counts.Stale++
			c.counts.MaxStale = max(c.counts.MaxStale, at-a.at)
		}
	}
}

// final judges what each node lists after the end of all faults.
func (c *checker) final(lists map[string][]Record) {
	bodies := map[string]map[string]string{}
	for node, list := range lists {
		c.read(0, node, list)
		for _, r := range list {
			if bodies[r.ID] == nil {
				bodies[r.ID] = map[string]string{}
			}
			bodies[r.ID][node] = string(r.Body)
		}
	}
	for id, b := range bodies {
		first, agree := "", true
		for _, body := range b {
			if first == "" {
				first = body
			}
			agree = agree && body == first
		}
		if len(b) != len(lists) || !agree {
			c.fail("%q is on %v only, or differs there", id, slices.Sorted(maps.Keys(b)))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.acked)) {
		if bodies[id] != nil {
			continue
		}
		var kept []string
		for h, disks := range c.acked[id].holders {
			if c.disks[h] == disks {
				kept = append(kept, h)
			}
		}
		if len(kept) > 0 {
			slices.Sort(kept)
			c.fail("%q is lost: acknowledged after %v, and %v never lost a disk", id, c.acked[id].at, kept)
		} else {
			c.counts.Excused++ // every holder's disk is gone
		}
	}
}

// TestCheckerSeesEveryFault: a checker that finds nothing is worth nothing.
func TestCheckerSeesEveryFault(t *testing.T) {
	rec := func(id, body string, seq uint64) Record {
		return Record{ID: id, Body: []byte(body), Origin: "a/1", Seq: seq}
	}
	x, y := rec("x", "1", 1), rec("y", "2", 2)
	for name, c := range map[string]struct {
		want  string
		a, b  []Record
		after func(*checker)
	}{
		"nothing":           {"", []Record{x, y}, []Record{x, y}, nil},
		"lost":              {`"y" is lost`, []Record{x}, []Record{x}, nil},
		"lost on one store": {`"y" is on [a] only`, []Record{x, y}, []Record{x}, nil},
		"twice":             {`lists "x" twice`, []Record{x, y, x}, []Record{x, y}, nil},
		"invented":          {`that no one sent`, []Record{x, y, rec("z", "3", 3)}, []Record{x, y, rec("z", "3", 3)}, nil},
		"other content":     {`that no one sent`, []Record{x, rec("y", "?", 2)}, []Record{x, rec("y", "?", 2)}, nil},
		"number used again": {`under number 1 of a/1`, []Record{x, rec("y", "2", 1)}, []Record{x, rec("y", "2", 1)}, nil},
		"vanished": {`"w" has vanished from b`, []Record{x, y}, []Record{x, y}, func(c *checker) {
			c.attempt("w", "0")
			c.read(0, "b", []Record{rec("w", "0", 9)})
		}},
		"answers differ": {`differs there`, []Record{x, y}, []Record{x, rec("y", "3", 2)}, func(c *checker) { c.attempt("y", "3") }},
		"the disks of all holders": {"", []Record{x}, []Record{x}, func(c *checker) {
			c.loseDisk("a")
			c.loseDisk("b")
		}},
		"the disk of one holder": {`"y" is lost`, []Record{x}, []Record{x}, func(c *checker) { c.loseDisk("a") }},
	} {
		k := newChecker()
		k.attempt("x", "1")
		k.attempt("y", "2")
		k.acknowledge(1, "x", []string{"a"}, k.diskCounts())
		k.acknowledge(2, "y", []string{"a", "b"}, k.diskCounts())
		if c.after != nil {
			c.after(k)
		}
		k.final(map[string][]Record{"a": c.a, "b": c.b})
		got := strings.Join(k.wrong, "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
