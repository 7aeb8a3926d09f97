package session

import (
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// Two processes under one name: the one with the newer certificate is the
// node, and the older one can neither keep its session nor make another.
func TestTheNewerProcessIsTheNode(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := newHandshake(t)
		e := &peer{name: "a", addr: transportAddr("a")}
		h.b.peers["a"] = e
		make := func(generation uint64, age time.Duration) *session {
			half, err := h.b.makeReply(h.call(t).init, generation)
			if err != nil {
				t.Fatal(err)
			}
			s := half.session
			c := *s.certificate
			c.NotBefore = c.NotBefore.Add(-age)
			s.peer, s.certificate = e, &c
			return s
		}
		accept := func(s *session) {
			half := &halfOpen{id: messageID(s.id), name: "a", session: s}
			h.b.halfOpen[half.id] = half
			h.b.accept(half)
		}
		old := make(0, time.Minute)
		accept(old)
		if e.current != old {
			t.Fatal("no session with the first process")
		}
		successor := make(1, 0) // it knows of no session, and b does
		accept(successor)
		if e.current != successor || len(e.previous) != 0 || h.b.sessions[old.id] != nil {
			t.Errorf("current %v, %d older ones still receive", e.current.id, len(e.previous))
		}
		again := make(7, time.Minute)
		accept(again)
		if e.current != successor || h.b.sessions[again.id] != nil {
			t.Error("the process that was replaced took its name back")
		}
	})
}
