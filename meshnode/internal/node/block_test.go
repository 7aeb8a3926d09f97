package node

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// spoil flips a bit of every attestation that a node sends another one in clear.
func spoil(from, to netip.Addr) func(f, x netip.AddrPort, b []byte) []byte {
	return func(f, x netip.AddrPort, b []byte) []byte {
		h, payload, err := frame.Parse(b)
		if err == nil && h.Type == frame.AttestationSignature && f.Addr() == from && x.Addr() == to && len(payload) > 100 {
			payload[100] ^= 1
		}
		return b
	}
}

// TestTheInnocentIsNotBlocked: somebody between two nodes spoils one's attestations,
// and everything else that could be its proof, for minutes. Sessions end; nobody is
// blocked, and when it is over all is well again.
func TestTheInnocentIsNotBlocked(t *testing.T) {
	for name, further := range map[string]bool{"attestations": false, "proofs too": true} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m := newTestMesh(t, true)
				m.configure = func(_ string, c *Config) { c.Policy.Strikes = 2 }
				m.up()
				defer m.down()
				victim, innocent := zoneNames[0], zoneNames[1]
				from, to := m.nodes[innocent].addr, m.nodes[victim].addr
				inClear := spoil(from, to)
				m.net.SetFilter(func(f, x netip.AddrPort, b []byte) []byte {
					h, payload, err := frame.Parse(b)
					if further && err == nil && h.Type == frame.AttestationProof && f.Addr() == from && x.Addr() == to {
						payload[len(payload)/2] ^= 1
					}
					return inClear(f, x, b)
				})
				m.within(2*time.Minute, "ended sessions", func() error {
					if v := m.nodes[victim].healed(metric.InvalidateSession, metric.OutcomeDone); v < 4 {
						return fmt.Errorf("%v", v)
					}
					return nil
				})
				m.net.SetFilter(nil)
				for name, n := range m.nodes {
					if v := n.healed(metric.BlockPeer, metric.OutcomeDone); v > 0 {
						t.Errorf("%s blocked %v times", name, v)
					}
				}
				m.within(40*time.Second, "all is well again", m.whole)
			})
		})
	}
}

// liar signs with its own key until it is told to take another one.
type liar struct {
	identity.Signer
	other atomic.Pointer[identity.PrivateKey]
}

// as makes it sign with another key; nil: with its own.
func (l *liar) as(key *identity.PrivateKey) { l.other.Store(key) }

func (l *liar) Sign(ctx identity.Context, msg []byte) []byte {
	if key := l.other.Load(); key != nil {
		return key.Sign(ctx, msg)
	}
	return l.Signer.Sign(ctx, msg)
}

// TestALiarIsBlocked: a member that signs with another key than its certificate's is
// blocked for the policy's time, also over a restart, and nobody else is.
func TestALiarIsBlocked(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		victim, culprit := zoneNames[0], zoneNames[1]
		var liar liar
		m.configure = func(name string, c *Config) {
			c.Policy.Strikes, c.Policy.Block = 1, mapek.Duration(2*time.Minute)
			if name == culprit {
				lying := *c.Identity.Credential()
				liar.Signer, lying.Key = lying.Key, &liar
				c.Identity = identity.NewNode(&lying, c.Identity.Trust())
			}
		}
		m.up()
		defer m.down()
		liar.as(identity.GenerateKey())
		m.within(time.Minute, "the block", func() error {
			if v := m.nodes[victim].healed(metric.BlockPeer, metric.OutcomeDone); v != 1 {
				return fmt.Errorf("%v blocks; invalidated %v", v, m.nodes[victim].healed(metric.InvalidateSession, metric.OutcomeDone))
			}
			return nil
		})
		blocked := time.Now()
		liar.as(nil)
		standing := func() session.State { return m.nodes[victim].Node.session(culprit).State }
		time.Sleep(30 * time.Second)
		if s := standing(); s == session.StateVerified {
			t.Errorf("30 s into the block the session is %s", s)
		}
		m.stop(victim, false)
		m.start(victim)
		time.Sleep(30 * time.Second)
		if s := standing(); s == session.StateVerified {
			t.Errorf("after a restart the blocked peer is %s", s)
		}
		// Without healing nothing is blocked, though it is remembered.
		m.stop(victim, false)
		m.heal = false
		m.start(victim)
		m.within(40*time.Second, "a session with healing off", func() error {
			if standing() != session.StateVerified {
				return errors.New(string(standing()))
			}
			return nil
		})
		m.stop(victim, false)
		m.heal = true
		m.start(victim)
		time.Sleep(time.Until(blocked.Add(2 * time.Minute)))
		m.within(40*time.Second, "the end of the block", func() error {
			if standing() != session.StateVerified {
				return errors.New(string(standing()))
			}
			return nil
		})
	})
}

// TestABlockEndsThoughTheClockWasSetBack: what a node wrote down of a block a day ahead of the time at
// which it starts lasts as long as a block. Then something is done for the peer again.
func TestABlockEndsThoughTheClockWasSetBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		victim, peer, block := zoneNames[0], zoneNames[1], 2*time.Minute
		m.configure = func(_ string, c *Config) { c.Policy.Block = mapek.Duration(block) }
		then := time.Now().Add(24 * time.Hour)
		m.remembers(victim, mapek.Threat{Peer: peer, Strikes: 1, First: then, Last: then, Until: then.Add(block)})
		for _, name := range m.names {
			m.start(name)
		}
		defer m.down()
		n := m.nodes[victim]
		time.Sleep(block - time.Second)
		if s := n.Node.session(peer).State; s == session.StateVerified {
			t.Errorf("within the block the session is %s", s)
		}
		m.within(45*time.Second, "the end of the block", m.whole)
		m.net.Cut(n.addr, m.nodes[peer].addr)
		m.within(3*time.Second, "a way around", func() error {
			if v := n.healed(metric.ActivateBackupRoutes, metric.OutcomeDone); v != 1 {
				return fmt.Errorf("%v; incidents %v", v, n.incidents())
			}
			return nil
		})
	})
}

// remembers writes down what a node that is yet to start knows of threats.
func (m *testMesh) remembers(name string, threats ...mapek.Threat) {
	m.t.Helper()
	id, err := m.auth.NewNode(name, "", time.Hour)
	if err != nil {
		m.t.Fatal(err)
	}
	known := mapek.Knowledge{Threats: threats}
	b, err := known.Encode()
	if err != nil {
		m.t.Fatal(err)
	}
	s, err := store.Open(m.dirs[name], name, notary{id}, time.Now)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := errors.Join(s.SaveKnowledge(b), s.Close()); err != nil {
		m.t.Fatal(err)
	}
}
