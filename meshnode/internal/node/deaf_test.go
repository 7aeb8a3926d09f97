package node

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
)

// atOnce is how long what a node does without waiting for its next turn may take.
const atOnce = 100 * time.Millisecond

// relayless is a mesh of which node 1 gets no relayed frame out while mute is set, nor in
// while deaf is.
func relayless(t *testing.T) (c *certified, mute, deaf *atomic.Bool) {
	m := newTestMeshOf(t, true, certifiedNames(4))
	m.up()
	c, mute, deaf = newCertified(m), new(atomic.Bool), new(atomic.Bool)
	m.net.SetFilter(func(from, to netip.AddrPort, b []byte) []byte {
		h, _, err := frame.Parse(b)
		if err == nil && h.Type == frame.Relay && (mute.Load() && from.Addr() == c.addrs[1] || deaf.Load() && to.Addr() == c.addrs[1]) {
			return nil
		}
		return b
	})
	return c, mute, deaf
}

// becomes reports whether something is so within limit.
func (c *certified) becomes(limit time.Duration, is func() bool) bool {
	_, err := c.until(limit, func() error {
		if is() {
			return nil
		}
		return errors.New("not yet")
	})
	return err == nil
}

// TestDeafPeerIsChallengedByRelay: node 1 does not hear node 0, and what it asks by relay
// is lost. It hears of node 0 as soon as that goes by relay.
func TestDeafPeerIsChallengedByRelay(t *testing.T) {
	inMemory(t)
	bubble.Test(t, func(t *testing.T) {
		c, mute, _ := relayless(t)
		defer c.down()
		mute.Store(true)
		for range 5 { // once may be chance: there is a challenge every second
			before := arrivals(c.at[1], c.at[0])
			c.set(cuts(0).with(c.size, 0, 1))
			if !c.becomes(barWays, func() bool { return c.at[0].byRelay(c.names[1]) }) {
				t.Fatal("node 0 goes on over a link on which nothing arrives")
			}
			if !c.becomes(atOnce, func() bool { return arrivals(c.at[1], c.at[0]) > before }) {
				t.Errorf("node 1 hears nothing within %v of the way by relay", atOnce)
			}
			c.set(0)
			time.Sleep(10 * time.Second)
		}
	})
}

// TestFirstRelayedFrameIsAnswered: what node 1 asked of a lost peer was lost on the way, and
// it does not wait for its next turn when that one is heard by relay.
func TestFirstRelayedFrameIsAnswered(t *testing.T) {
	inMemory(t)
	bubble.Test(t, func(t *testing.T) {
		c, mute, deaf := relayless(t)
		defer c.down()
		for range 5 {
			mute.Store(true)
			deaf.Store(true)
			c.set(cuts(0).both(c.size, 0, 1))
			time.Sleep(barWays)
			synctest.Wait()
			if s := c.at[1].session(c.names[0]).State; s != session.StateUnverified {
				t.Fatalf("the session with a peer of which nothing comes is %s", s)
			}
			mute.Store(false)
			deaf.Store(false)
			if err := c.at[0].sessions.Send(session.Peer(c.names[1]), frame.DataAck, make([]byte, 9)); err != nil {
				t.Fatal(err)
			}
			if !c.becomes(atOnce, func() bool { return c.at[1].session(c.names[0]).State == session.StateVerified }) {
				t.Errorf("the session is not verified within %v of the first frame", atOnce)
			}
			c.set(0)
			time.Sleep(10 * time.Second)
		}
	})
}
