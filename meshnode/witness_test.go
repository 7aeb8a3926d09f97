package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// kill ends a node as a crash does.
func (c *cluster) kill(name string) {
	c.t.Helper()
	p := c.procs[name]
	if err := p.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	_ = p.cmd.Wait() // killed
	if err := p.log.Close(); err != nil {
		c.t.Error(err)
	}
	p.cmd = nil
}

// vouch has the liar claim to hear a node, whoever asks.
func (l *liar) vouch(t *testing.T, about string) {
	life := make([]byte, 8) // the incarnation of the one it is asked for, which everybody hears
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lie = func(from session.Peer, typ frame.Type, payload []byte) bool {
		switch {
		case typ == frame.Heartbeat && string(from) == about:
			copy(life, payload)
		case typ == frame.ProbeRequest && string(payload[16:]) == about:
			answer := slices.Clone(payload)
			copy(answer[8:], life)
			if err := l.Send(from, frame.ProbeReply, answer); err != nil {
				t.Errorf("a false answer: %v", err)
			}
			l.lied++
			return true
		}
		return false
	}
}

// TestRealLyingWitness: a member that claims to hear a node that was killed delays what is to be
// done, and does not prevent it: every honest node finds the crash.
func TestRealLyingWitness(t *testing.T) {
	const dead = "a-1"
	c := newCluster(t, "a-0", dead, "a-2", "b-0", "liar")
	honest := c.honest("liar")
	for _, n := range honest {
		c.start(n)
	}
	l := c.enlist("liar")
	c.within(20*time.Second, "every pair verified", func() error {
		for _, n := range honest {
			if v, err := c.metric(n, metric.PeerStatus, map[string]string{metric.LabelPeer: "liar", metric.LabelStatus: metric.StatusReachable}); err != nil || v != 1 {
				return fmt.Errorf("%s does not reach the liar, %w", n, err)
			}
		}
		return c.unharmed("liar")
	})
	l.vouch(t, dead)
	<-time.After(time.Second) // heartbeats, by which the liar learns whom to vouch for
	c.kill(dead)
	took := c.within(20*time.Second, "the crash is found", func() error {
		for _, n := range honest {
			if n == dead {
				continue
			}
			if v, err := c.metric(n, metric.AnomaliesDetected, map[string]string{metric.LabelType: metric.NodeCrash}); err != nil || v == 0 {
				return fmt.Errorf("%s has found none, %w", n, err)
			}
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lied == 0 {
		t.Error("nobody asked the liar: the test proves nothing")
	}
	t.Logf("found %v after it, in spite of %d lies", took, l.lied)
}
