package home

import (
	"fmt"
	"testing"
	"time"
)

// served is how long after a home has turned out to be nobody a session may take to answer
// elsewhere: every other node may be a better candidate that does not know it.
const served = nobodyAfter + 5*widen + time.Second

// answers checks what every one of the nodes says to a reading of session 0.
func (s *sim) answers(nodes []string, want Code) {
	s.t.Helper()
	limit := 100 * time.Millisecond
	if want == Done {
		limit = 2 * time.Second // claims may have crossed just now
	}
	for _, n := range nodes {
		r := s.must(n, Request{Op: Read, ID: id(0)}, limit)
		if r.Code != want || want == Done && (string(r.Body) != "new" || s.nodes[r.Home.Home] == nil) {
			s.t.Errorf("%v after the start, %s answers %+v, want code %d", s.now.Sub(time.Unix(1e9, 0)), n, r, want)
		}
	}
}

// TestNobodyIsHomeForAWhileOnly: e says in every way that there is that a session is at home with
// nobody. All believe it, and refuse; in time one of them claims it. New names do not put that off.
func TestNobodyIsHomeForAWhileOnly(t *testing.T) {
	for what, lie := range map[string]func(b Ballot) *message{
		"a promise": func(b Ballot) *message { return &message{Kind: promise, ID: id(0), Ballot: Ballot{1, "e"}, Highest: b} },
		"a state": func(b Ballot) *message {
			c := &snapshot{ID: id(0), Promised: b, Accepted: b, Version: 1, Body: []byte("new")}
			return &message{Kind: promise, ID: id(0), Ballot: Ballot{1, "e"}, Highest: b, Copy: c}
		},
		"an answer to a proposal": func(b Ballot) *message {
			return &message{Kind: accepted, ID: id(0), Ballot: Ballot{1, "a"}, Highest: b}
		},
		"a request": func(b Ballot) *message { return &message{Kind: request, ID: id(0), Op: Read, Ticket: 7, Ballot: b} },
	} {
		t.Run(what, func(t *testing.T) {
			s := mesh(t, true)
			s.create(0)
			s.run(time.Second)
			honest, began := five[:4], s.now
			for i := range 9 {
				b := Ballot{uint64(40 + i), fmt.Sprint("mesh-node-z-", i)}
				for _, n := range honest {
					s.out(n, take(t, s.nodes[n], s.now, "e", lie(b).encode()))
				}
				s.run(time.Second)
			}
			s.answers(honest, Busy)
			s.run(began.Add(served).Sub(s.now))
			s.answers(honest, Done)
		})
	}
}

// TestWhoIsNobody: a member that was never met, or said goodbye, is no home for long. One that was
// lost is the loop's to judge: without it sessions stay, however long. Who is known to be lost
// is named in vain.
func TestWhoIsNobody(t *testing.T) {
	n := homedAt("c")
	others := []string{"a", "b", "d", "e"}
	lose := func(t *testing.T, heals bool) *sim {
		s := mesh(t, heals)
		s.create(n)
		s.create(0)
		s.crash("c")
		s.run(3 * time.Second)
		return s
	}
	read := func(s *sim) Result { return s.must("a", Request{Op: Read, ID: id(n)}, 100*time.Millisecond) }
	t.Run("absent", func(t *testing.T) {
		s := lose(t, false)
		for _, o := range others {
			v := s.nodes[o].view
			v.Absent = []string{"c"}
			s.out(o, s.nodes[o].SetView(s.now, v))
		}
		s.run(nobodyAfter - time.Second)
		if r := read(s); r.Code != Busy {
			t.Errorf("before it is certain: %+v", r)
		}
		s.run(served - nobodyAfter + time.Second)
		if r := s.must("a", Request{Op: Read, ID: id(n)}, 2*time.Second); r.Code != Done || r.Home.Home == "c" {
			t.Errorf("in the end: %+v", r)
		}
	})
	t.Run("lost, without the loop", func(t *testing.T) {
		s := lose(t, false)
		s.run(3 * served)
		if r := read(s); r.Code != Busy || s.migrated > 0 {
			t.Errorf("%+v, %d sessions moved", r, s.migrated)
		}
	})
	t.Run("known to be lost", func(t *testing.T) {
		s := lose(t, true)
		for _, o := range others {
			s.out(o, take(t, s.nodes[o], s.now, "e", (&message{Kind: promise, ID: id(0), Ballot: Ballot{1, "e"}, Highest: Ballot{40, "c"}}).encode()))
		}
		if s.nodes["a"].Homed("c") == 0 {
			t.Fatal("a does not take c for the home: the test proves nothing")
		}
		s.run(time.Second)
		s.answers(others, Done)
	})
}
