package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// TestLyingWitness: a member that claims to hear a node that has crashed delays what is to
// be done, and does not prevent it: the sessions of the dead node's clients move.
func TestLyingWitness(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		liar, dead := zoneNames[4], zoneNames[1]
		h := m.turn(liar)
		m.up()
		defer m.down()
		h.mu.Lock()
		life := make([]byte, 8) // the dead node's incarnation, which everybody hears
		h.hears = func(from string, typ frame.Type, payload []byte) {
			switch {
			case typ == frame.Heartbeat && from == dead:
				copy(life, payload)
			case typ == frame.ProbeRequest:
				copy(payload[8:], life)
				if err := h.send(from, frame.ProbeReply, payload); err != nil {
					t.Error(err)
				}
			}
		}
		h.mu.Unlock()
		time.Sleep(time.Second) // heartbeats
		var ids []string
		for len(ids) < 20 {
			s, err := m.nodes[zoneNames[0]].CreateSession(t.Context(), []byte("state"))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, s.ID)
		}
		if m.nodes[zoneNames[0]].clients.Homed(dead) == 0 {
			t.Fatal("the node that dies is home to no session: the test proves nothing")
		}
		m.stop(dead, true)
		linked := 0.0
		m.within(muteAfter+3*time.Second, "the sessions have moved", func() error {
			for _, name := range []string{zoneNames[0], zoneNames[2], zoneNames[3]} {
				linked = max(linked, m.nodes[name].detected(metric.LinkFailure))
				if n := m.nodes[name].clients.Homed(dead); n > 0 {
					return fmt.Errorf("%s knows %d sessions at home with the dead node", name, n)
				}
			}
			return nil
		})
		if linked == 0 {
			t.Error("nobody believed the liar: the test proves nothing")
		}
		for _, id := range ids {
			if s, err := m.nodes[zoneNames[2]].Session(t.Context(), id); err != nil || s.Home == dead {
				t.Errorf("session %s at %s: %v", id, s.Home, err)
			}
		}
	})
}

// TestARelayOutlivesItsPeer: a link fails, and a relay brings what its other end says. Then that one
// dies. A liar goes on to announce the way to it, and may bring frames that it has kept back: the
// failed link becomes a crash all the same.
func TestARelayOutlivesItsPeer(t *testing.T) {
	for what, kept := range map[string]bool{"nothing comes any more": false, "frames that were kept back": true} {
		t.Run(what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m := newTestMesh(t, true)
				liar, dead := zoneNames[4], zoneNames[1]
				h := m.turn(liar)
				m.up()
				defer m.down()
				n := m.nodes[zoneNames[0]]
				revealed, repeats := map[string][]byte{}, false
				h.says(func(to string, typ frame.Type, payload []byte) [][]byte {
					if typ != frame.Routing {
						return [][]byte{payload}
					}
					if again := revealed[to]; repeats && again != nil {
						return [][]byte{again}
					}
					if bytes.Contains(payload, []byte(dead)) {
						revealed[to] = payload
					}
					return [][]byte{payload}
				})
				m.net.Cut(n.addr, m.nodes[dead].addr)
				m.within(2*barGap, "a relay", func() error {
					if arrivals(n, m.nodes[dead]) == 0 {
						return errors.New("brings nothing")
					}
					return nil
				})
				time.Sleep(3 * muteAfter)
				if got := n.incidents(); !maps.Equal(got, map[string]float64{metric.LinkFailure: 1}) {
					t.Fatalf("while its peer lives: incidents %v", got)
				}
				h.mu.Lock()
				repeats = true
				h.mu.Unlock()
				m.stop(dead, true)
				limit := 2 * muteAfter
				if kept {
					limit = unprovenAfter
				}
				m.within(limit+time.Second, "a crash", func() error {
					if kept {
						n.onEvent(session.Event{Kind: session.Relayed, Peer: session.Peer(dead)})
					}
					if n.detected(metric.NodeCrash) != 1 {
						return fmt.Errorf("incidents %v, open %v", n.incidents(), n.openIncidents())
					}
					return nil
				})
				if open := n.openIncidents(); !slices.Contains(open, metric.NodeCrash+" of "+dead) {
					t.Errorf("open: %v", open)
				}
			})
		})
	}
}

// TestForgedRoute: one message in which a member announces another node under a high
// incarnation diverts nothing, and leaves nothing behind when the liar has left.
func TestForgedRoute(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		liar, victim, subject := zoneNames[4], zoneNames[0], zoneNames[1]
		h := m.turn(liar)
		m.discover = &present{all: m.all, gone: map[string]bool{}}
		m.up()
		defer m.down()
		for _, proof := range [][]byte{nil, make([]byte, 16)} {
			b := append([]byte{1, byte(len(subject))}, subject...)
			b = binary.BigEndian.AppendUint64(b, 1<<63)
			b = binary.BigEndian.AppendUint32(b, 1)
			b = append(append(b, 255, 16), proof...)
			if err := h.send(victim, frame.Routing, b); err != nil {
				t.Fatal(err)
			}
		}
		check := func(when string) {
			if next := m.nodes[victim].next(subject); next != subject {
				t.Errorf("%s: %s goes to %s by %q", when, victim, subject, next)
			}
		}
		time.Sleep(time.Second)
		check("after the forged message")
		m.leave(liar)
		time.Sleep(time.Minute)
		check("a minute after the liar has left")
	})
}

// TestAPartitionAfterAFailedLink: who was reached by relay and is on the other side of a partition now is not dead.
func TestAPartitionAfterAFailedLink(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		here, there := []string{zoneNames[0], zoneNames[2]}, []string{zoneNames[1], zoneNames[3], zoneNames[4]}
		n, far := m.nodes[here[0]], m.nodes[there[0]]
		m.net.Cut(n.addr, far.addr)
		m.within(2*barGap, "a relay", func() error {
			if arrivals(n, far) == 0 {
				return errors.New("brings nothing")
			}
			return nil
		})
		time.Sleep(15 * time.Second)
		for _, a := range here {
			for _, b := range there {
				m.net.Cut(m.nodes[a].addr, m.nodes[b].addr)
			}
		}
		time.Sleep(5 * muteAfter)
		if n.detected(metric.NetworkPartition) != 1 || n.detected(metric.NodeCrash) != 0 {
			t.Errorf("incidents %v", n.incidents())
		}
	})
}
