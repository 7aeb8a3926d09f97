package detect

import (
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// TestEchoTellsTheClock: an echo tells how far the peer's clock is ahead, within what it says that it may be wrong by,
// whichever way of the round trip is the slow one; and a peer that shows no time is no sound one.
func TestEchoTellsTheClock(t *testing.T) {
	for _, ahead := range []time.Duration{0, -50 * time.Minute, 10 * time.Second} {
		for _, way := range [][2]time.Duration{{200, 200}, {400, 0}, {0, 400}} {
			out, back := way[0]*time.Millisecond, way[1]*time.Millisecond
			now := time.Unix(1e9, 0)
			a := New(Config{Self: "a", Incarnation: 1, Clock: func() time.Time { return now }})
			b := New(Config{Self: "b", Incarnation: 2, Clock: func() time.Time { return now.Add(ahead) }})
			a.Add(now, "b")
			b.Add(now, "a")
			beat := a.Ask(now, "b").Send[0]
			now = now.Add(out)
			answer, err := b.Receive(now, "a", beat.Type, beat.Payload)
			if err != nil || len(answer.Send) == 0 || answer.Send[0].Type != frame.HeartbeatEcho {
				t.Fatalf("%+v, %v", answer, err)
			}
			echo := answer.Send[0].Payload
			now = now.Add(back)
			if _, err := a.Receive(now, "b", frame.HeartbeatEcho, echo[:heartbeatLen]); err == nil {
				t.Error("an echo without a time is taken")
			}
			if _, err := a.Receive(now, "b", frame.HeartbeatEcho, echo); err != nil {
				t.Fatal(err)
			}
			c := a.Links()[0].Clock
			offset := c.Shows.Sub(now)
			if c.Error != (out+back)/2 || !c.At.Equal(now) || (offset-ahead).Abs() > c.Error || out == back && offset != ahead {
				t.Errorf("ahead by %v, %v out and %v back: %+v", ahead, out, back, c)
			}
		}
	}
}
