package home

import (
	"testing"
	"time"
)

// TestTheLastVersion: a member states the last version that there can be of a session. Who is home of it proposes nothing that
// the others would blame it for (the simulation fails where a message is refused): it can be read, and not be changed.
func TestTheLastVersion(t *testing.T) {
	s := mesh(t, true)
	s.create(0)
	b := Ballot{40, "a"}
	lie := &message{Kind: promise, ID: id(0), Ballot: Ballot{1, "e"}, Highest: b, Copy: &snapshot{ID: id(0), Promised: b, Accepted: b, Version: maxVersion, Body: []byte("x")}}
	for _, n := range five[:4] {
		s.out(n, take(t, s.nodes[n], s.now, "e", lie.encode()))
	}
	s.run(time.Second)
	for _, n := range five {
		if r := s.must(n, Request{Op: Update, ID: id(0), Body: []byte("y")}, 2*time.Second); r.Code != Conflict || r.Version != maxVersion {
			t.Errorf("%s changes it: %+v", n, r)
		}
		if r := s.must(n, Request{Op: Read, ID: id(0)}, 2*time.Second); r.Code != Done || r.Version != maxVersion || string(r.Body) != "x" {
			t.Errorf("%s reads %+v", n, r)
		}
	}
}
