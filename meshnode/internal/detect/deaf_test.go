package detect

import (
	"math"
	"testing"
	"time"
)

// quality is that of the link of one node to another, as it sees it.
func (m *mesh) quality(t *testing.T, node, peer string) uint8 {
	t.Helper()
	for _, l := range m.nodes[node].Links() {
		if l.Peer == peer {
			return l.Quality
		}
	}
	t.Fatalf("%s does not watch %s", node, peer)
	return 0
}

// TestALinkOfOneDirection: who is not heard finds it out about as fast as the one that does
// not hear it, raises no alarm, and takes the link for as good as before when it is back.
func TestALinkOfOneDirection(t *testing.T) {
	for _, cut := range []time.Duration{2 * time.Second, 3 * time.Second, 20 * time.Second} {
		m := newMesh(3, 11)
		m.settle(t)
		m.cut = func(from, to string) bool { return from == "n00" && to == "n01" }
		m.run(t, defaultMinSuspect)
		if q := m.quality(t, "n00", "n01"); q == 0 {
			t.Error("silence of less than the suspicion time counts")
		}
		m.run(t, defaultMaxSuspect+2*defaultInterval-defaultMinSuspect)
		if q := m.quality(t, "n00", "n01"); q != 0 {
			t.Errorf("quality %d of a link over which nothing arrives", q)
		}
		m.run(t, cut-defaultMaxSuspect-2*defaultInterval)
		m.cut = func(string, string) bool { return false }
		m.run(t, 2*defaultInterval)
		for _, l := range [][2]string{{"n00", "n01"}, {"n01", "n00"}} {
			if q := m.quality(t, l[0], l[1]); q != math.MaxUint8 {
				t.Errorf("%v after a cut of %v quality %d from %s to %s", 2*defaultInterval, cut, q, l[0], l[1])
			}
		}
		for _, c := range m.log {
			if c.node != "n01" || c.Peer != "n00" {
				t.Errorf("%s says of %s that it is %v", c.node, c.Peer, c.To)
			}
		}
		if got := len(m.changes(Unreachable)); got != 1 {
			t.Errorf("n01 has lost n00 %d times", got)
		}
	}
}

// TestLossBeforeACutCounts: what is lost in the cut says nothing of the link, but what was
// before it does.
func TestLossBeforeACutCounts(t *testing.T) {
	m := newMesh(2, 11)
	m.settle(t)
	lossy := true
	m.cut = func(from, to string) bool {
		return from == "n00" && (!lossy || m.now.UnixMilli()/200%2 == 0) // every second heartbeat
	}
	m.run(t, 10*time.Second)
	before := m.quality(t, "n00", "n01")
	if before < 100 || before > 160 {
		t.Fatalf("quality %d when half is lost", before)
	}
	lossy = false
	m.run(t, 2*time.Second)
	m.cut = func(string, string) bool { return false }
	m.run(t, 2*defaultInterval)
	if q := m.quality(t, "n00", "n01"); q < before-40 || q > before+60 {
		t.Errorf("quality %d after a cut, %d before it", q, before)
	}
}

// TestNothingElseMakesALinkDeaf: not silence of both directions, nor a stall of this
// node, nor a path that becomes slow; each is judged by others.
func TestNothingElseMakesALinkDeaf(t *testing.T) {
	everything := func(string, string) bool { return true }
	for name, happens := range map[string]func(m *mesh){
		"both directions are cut": func(m *mesh) { m.cut = everything },
		"this node is stalled":    func(m *mesh) { m.stalled = map[string]bool{"n00": true} },
		"the path becomes slow":   func(m *mesh) { m.latency = 300 * time.Millisecond },
		"there is jitter":         func(m *mesh) { m.jitter = 300 * time.Millisecond },
	} {
		m := newMesh(2, 13)
		m.settle(t)
		happens(m)
		for until := m.now.Add(10 * time.Second); m.now.Before(until); {
			if m.now.Sub(until) > -7*time.Second {
				m.stalled = nil
			}
			m.run(t, 50*time.Millisecond) // ends after a tick, which excuses a stall
			if m.nodes["n00"].Status("n01") == Reachable && m.quality(t, "n00", "n01") == 0 {
				t.Errorf("%s: quality 0, %v before the end", name, until.Sub(m.now))
				break
			}
		}
	}
}
