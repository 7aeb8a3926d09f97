package store

import (
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestFlights: what is on its way to a peer is not sent to it again before its confirmation can have come, and what is lost is.
func TestFlights(t *testing.T) {
	f, now, p := newFlights(), time.Unix(0, 0), position{origin: "a/1", seq: 1}
	at := func(ms int) time.Time { return now.Add(time.Duration(ms) * time.Millisecond) }
	if !f.due(now, "b", p) || f.coming(now, "b", p) {
		t.Error("what never left is on its way")
	}
	f.left(now, "b", p)
	if f.due(at(249), "b", p) || !f.due(at(250), "b", p) || !f.due(now, "c", p) {
		t.Error("sent again at another time than after 250 ms, or not to another peer")
	}
	if f.coming(at(1), "b", p) {
		t.Error("on its way, where nothing is known of the way: a summary would leave out what is lost")
	}
	f.landed(at(400), "b", p)
	if f.patience("b") != 500*time.Millisecond {
		t.Errorf("after an answer within 400 ms it waits for %v", f.patience("b"))
	}
	if !f.coming(at(400+349), "b", p) || f.coming(at(400+350), "b", p) {
		t.Error("what has landed is held back for another time than 350 ms: a summary may have left before that")
	}
	if !f.due(at(400), "b", p) {
		t.Error("a client that asks again needs a new confirmation")
	}
	f.left(now, "b", p)
	if !f.coming(at(349), "b", p) || f.coming(at(350), "b", p) {
		t.Error("held back from an answer for another time than 350 ms")
	}
	f.left(at(500), "b", p) // once more
	f.landed(at(800), "b", p)
	if f.answer["b"] != 450*time.Millisecond {
		t.Errorf("the way takes %v: 600 ms of the 800 from the first push count", f.answer["b"])
	}
	f.forget(at(2800))
	f.left(now, "b", p)
	f.left(at(700), "b", p)
	if f.landed(at(710), "b", p); f.answer["b"] != 450*time.Millisecond {
		t.Errorf("a record that was lost for long says something of the way: %v", f.answer["b"])
	}
	f.answer["b"] = time.Hour // whatever a peer makes of it
	if f.patience("b") != pushFar {
		t.Errorf("it waits for %v", f.patience("b"))
	}
	f.left(now, "b", p)
	f.forget(at(1999))
	if len(f.sent["b"]) != 1 {
		t.Error("forgotten too soon")
	}
	if f.forget(at(2000)); len(f.sent) > 0 {
		t.Errorf("not forgotten: %v", f.sent)
	}
}

// TestAFarPeerGetsARecordOnce: once the way is known to take 400 ms, a record goes over it once, with summaries crossing it.
func TestAFarPeerGetsARecordOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 1, "a", "b")
		w.delay = 200 * time.Millisecond
		pushed := map[string]int{}
		w.mu.Lock()
		w.lose = func(from, _ string, typ frame.Type, payload []byte) bool {
			if from == "a" && typ == frame.Data && payload[0] == kindRecord {
				pushed[carried(t, payload).ID]++
			}
			return false
		}
		w.mu.Unlock()
		for i := range 30 {
			if _, _, err := w.nodes["a"].Accept(t.Context(), string(rune('A'+i)), nil, 0); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(70*time.Millisecond, func() { w.nodes["b"].Sync("a") }) // a summary that does not know the next one yet
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		again := 0
		for _, n := range pushed {
			again += n - 1
		}
		if again > 10 { // the first ones, until the way is known, and where a summary left at the very moment; it was each of them
			t.Errorf("%d of %d records were sent again: %v", again, len(pushed), pushed)
		}
	})
}
