package detect

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// TestIncarnationHasNoOrder: a node that starts again with any other incarnation, lower
// ones included, is met again. With ordered ones a clock that was set back before the
// start, or one forged high incarnation, made a node deaf for good.
func TestIncarnationHasNoOrder(t *testing.T) {
	for _, next := range []uint64{1, 1 << 40, 1<<64 - 1} {
		m := newMesh(2, 21)
		m.nodes["n00"] = New(Config{Self: "n00", Incarnation: 1 << 50})
		m.nodes["n00"].Add(m.now, "n01")
		m.settle(t)
		m.nodes["n00"] = New(Config{Self: "n00", Incarnation: next})
		m.nodes["n00"].Add(m.now, "n01")
		m.run(t, 2*time.Second)
		if s := m.nodes["n00"].Status("n01"); s != Reachable {
			t.Errorf("incarnation %d after a higher one: the new process sees its peer %v", next, s)
		}
		restarts := 0
		for _, c := range m.log {
			if c.node == "n01" && c.Restarted {
				restarts++
			}
		}
		if restarts != 1 {
			t.Errorf("incarnation %d: %d restarts seen, want 1", next, restarts)
		}
		// What was late is no restart.
		late := heartbeat{incarnation: 1 << 50, seq: 7}
		out, err := m.nodes["n01"].Receive(m.now, "n00", frame.Heartbeat, late.encode())
		if err != nil || len(out.Changes)+len(out.Send) > 0 {
			t.Errorf("a late heartbeat of the former process: %+v, %v", out, err)
		}
	}
}

// TestIncarnationsCannotFlap: a peer that claims a restart with every heartbeat is believed
// once a while, and told apart from one that is sound.
func TestIncarnationsCannotFlap(t *testing.T) {
	m := newMesh(2, 22)
	m.settle(t)
	restarts, refused := 0, 0
	for i := range uint64(100) {
		h := heartbeat{incarnation: 100 + i, seq: 1}
		out, err := m.nodes["n01"].Receive(m.now.Add(time.Duration(i)*10*time.Millisecond), "n00", frame.Heartbeat, h.encode())
		if err != nil {
			refused++
		}
		for _, c := range out.Changes {
			if c.Restarted {
				restarts++
			}
		}
	}
	if restarts > 2 || refused < 95 {
		t.Errorf("%d restarts within a second, %d claims refused", restarts, refused)
	}
}

// TestOnlyWhoWasAskedIsAWitness: of four that say that they hear a suspected peer only
// those count that were asked, and none under another number or when it is too late.
func TestOnlyWhoWasAskedIsAWitness(t *testing.T) {
	now := time.Unix(1e9, 0)
	d := New(Config{Self: "n00", Incarnation: 1, Indirect: 1, Rand: rand.New(rand.NewPCG(1, 2))})
	names := []string{"n01", "n02", "n03", "n04"}
	for _, n := range names {
		d.Add(now, n)
		d.peers[n].status, d.peers[n].lastHeard = Reachable, now
	}
	tick := func(at time.Time) Output {
		for _, n := range names[1:] {
			d.peers[n].lastHeard = at
		}
		return d.Tick(at)
	}
	var question probe
	asked := ""
	at := now
	for asked == "" {
		at = at.Add(50 * time.Millisecond)
		for _, s := range tick(at).Send {
			if s.Type == frame.ProbeRequest {
				asked = s.To
				if err := question.decode(s.Payload); err != nil {
					t.Fatal(err)
				}
			}
		}
		if at.Sub(now) > 5*time.Second {
			t.Fatal("nobody was asked")
		}
	}
	say := func(from string, id uint64, when time.Time) {
		p := probe{id: id, incarnation: 1, target: "n01"}
		if _, err := d.Receive(when, from, frame.ProbeReply, p.encode()); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range names[1:] {
		if n != asked {
			say(n, question.id, at)
		}
		say(n, question.id+1, at)
		say(n, question.id, at.Add(defaultProbeTimeout+time.Millisecond))
	}
	if got := d.peers["n01"].seenBy; len(got) > 0 {
		t.Errorf("witnesses that do not count: %v", got)
	}
	say(asked, question.id, at)
	if got := d.peers["n01"].seenBy; len(got) != 1 {
		t.Errorf("witnesses %v, want the one that was asked", got)
	}
}

// TestProbeIsForAName: what cannot name a node is malformed.
func TestProbeIsForAName(t *testing.T) {
	for _, target := range []string{"\xff\xfe", "N01", "-", "a b", "n01\n", string(make([]byte, 64))} {
		p := probe{id: 1, target: target}
		if err := (&probe{}).decode(p.encode()); err == nil {
			t.Errorf("%q passes for a name", target)
		}
	}
}

// TestClocksOfTheirOwn: nodes whose clocks are up to a day apart and run up to 5 % wrong raise
// no alarm, and find a node that has died as fast as others do, give or take that rate.
func TestClocksOfTheirOwn(t *testing.T) {
	for seed := range uint64(20) {
		m := newMesh(5, seed)
		m.clocks = map[string]clock{}
		for _, n := range m.names {
			off := time.Duration(m.rng.Int64N(int64(48*time.Hour))) - 24*time.Hour
			m.clocks[n] = clock{m.now, m.now.Add(off), 0.95 + 0.1*m.rng.Float64()}
			m.nodes[n] = New(Config{Self: n, Incarnation: m.rng.Uint64() | 1, Rand: rand.New(rand.NewPCG(seed, 9))})
		}
		for _, a := range m.names {
			for _, b := range m.names {
				m.nodes[a].Add(m.at(a), b)
			}
		}
		m.settle(t)
		m.stalled["n03"] = true
		m.run(t, 3*time.Second)
		found := map[string]bool{}
		for _, c := range m.changes(Unreachable) {
			if c.Peer != "n03" {
				t.Errorf("seed %d: %s lost %s", seed, c.node, c.Peer)
			}
			found[c.node] = true
		}
		if len(found) != 4 {
			t.Errorf("seed %d: %d of 4 found the dead node", seed, len(found))
		}
	}
}
