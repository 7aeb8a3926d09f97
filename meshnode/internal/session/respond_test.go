package session

import (
	"net/netip"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// TestACallThatGaveWayCostsNothing: the turn of a call comes when it has given way to others.
// Nothing of it is verified.
func TestACallThatGaveWayCostsNothing(t *testing.T) {
	h, counts := newHandshake(t), newMetrics()
	h.b.cfg.Metrics = counts
	half := &halfOpen{id: h.o.id, name: "a"}
	for _, kept := range []bool{false, true} {
		if kept {
			h.b.halfOpen[half.id] = half
		}
		h.b.answerCall(half, []byte("no call"), 0)
		if n := counts.get("verification false critical"); (n > 0) != kept {
			t.Errorf("kept: %v; looked at %d times", kept, n)
		}
	}
}

// oneSided is a triangle in which b calls a for a new session: c hands the call over
// before it comes straight, and the routes lead a back over d, which drops everything.
func oneSided(t *testing.T) (w *triangle, old frame.SessionID) {
	w = newTriangle(t)
	w.start("d", netip.AddrPort{})
	w.connectAll()
	w.within(3*time.Second, "verified", w.verified)
	w.net.SetLink(w.b.addr.Addr(), w.a.addr.Addr(), transport.Conditions{Latency: 10 * time.Millisecond})
	old = w.a.info(w.b).ID
	if err := w.b.Invalidate("a", "test"); err != nil {
		t.Fatal(err)
	}
	w.routes["b"].set("a", "c")
	w.routes["a"].set("b", "d")
	w.b.Rotate("a", "test")
	return w, old
}

// A relay that hands over a call says nothing of the way back. Who is called answers
// straight, too.
func TestCallThatComesByRelayFirst(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w, old := oneSided(t)
		defer w.stopAll()
		w.renewed(200*time.Millisecond, "a new session", old)
		if forwarded, _, _ := w.routes["c"].counts(); forwarded == 0 {
			t.Error("the call was to come by relay")
		}
	})
}

// What is lost of the answer is said again to whom the call comes from next, although
// that is not where it came from first.
func TestCallThatComesStraightAfterTheRelayIsGone(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w, old := oneSided(t)
		defer w.stopAll()
		lost := true
		w.net.SetFilter(func(from, to netip.AddrPort, p []byte) []byte {
			if lost && from == w.a.addr && to == w.b.addr {
				return nil
			}
			return p
		})
		w.pass(50 * time.Millisecond)
		if forwarded, _, _ := w.routes["c"].counts(); forwarded == 0 {
			t.Error("the call was to come by relay")
		}
		lost = false
		w.routes["b"].set("a", "d")
		w.renewed(500*time.Millisecond, "a new session", old)
	})
}
