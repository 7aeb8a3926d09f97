package detect

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
)

// mesh runs detectors against each other over a simulated network: an event
// loop in virtual time, without goroutines.
type mesh struct {
	now     time.Time
	rng     *rand.Rand
	nodes   map[string]*Detector
	names   []string
	queue   []packet // ordered by delivery time
	loss    float64
	latency time.Duration
	jitter  time.Duration
	cut     func(from, to string) bool
	stalled map[string]bool
	clocks  map[string]clock // of nodes whose time is not the mesh's
	log     []logged
}

// clock is a machine's time: off by some, and running at a rate of its own.
type clock struct {
	start, shown time.Time
	rate         float64
}

// at is the time that a node's machine shows.
func (m *mesh) at(node string) time.Time {
	c, ok := m.clocks[node]
	if !ok {
		return m.now
	}
	return c.shown.Add(time.Duration(float64(m.now.Sub(c.start)) * c.rate))
}

type packet struct {
	at       time.Time
	from, to string
	m        Message
}

type logged struct {
	node string
	Change
}

func newMesh(n int, seed uint64) *mesh {
	m := &mesh{
		now: time.Unix(1e9, 0), rng: rand.New(rand.NewPCG(seed, 1)), nodes: map[string]*Detector{},
		latency: 500 * time.Microsecond, cut: func(string, string) bool { return false }, stalled: map[string]bool{},
	}
	for i := range n {
		name := fmt.Sprintf("n%02d", i)
		m.names = append(m.names, name)
		m.nodes[name] = New(Config{Self: name, Incarnation: 1, Rand: rand.New(rand.NewPCG(seed, uint64(i)+2))})
	}
	for _, a := range m.names {
		for _, b := range m.names {
			m.nodes[a].Add(m.now, b)
		}
	}
	return m
}

func (m *mesh) handle(node string, out Output) {
	for _, c := range out.Changes {
		m.log = append(m.log, logged{node, c})
	}
	for _, s := range out.Send {
		if m.cut(node, s.To) || m.rng.Float64() < m.loss {
			continue
		}
		delay := m.latency
		if m.jitter > 0 {
			delay += time.Duration(m.rng.Int64N(int64(m.jitter)))
		}
		m.queue = append(m.queue, packet{m.now.Add(delay), node, s.To, s})
	}
}

// run advances virtual time in steps of 10 ms; detectors tick every 50 ms.
func (m *mesh) run(t testing.TB, d time.Duration) {
	t.Helper()
	const step = 10 * time.Millisecond
	for end := m.now.Add(d); m.now.Before(end); m.now = m.now.Add(step) {
		due := m.queue
		m.queue = nil
		for _, p := range due {
			if p.at.After(m.now) || m.stalled[p.to] {
				m.queue = append(m.queue, p)
				continue
			}
			out, err := m.nodes[p.to].Receive(m.at(p.to), p.from, p.m.Type, p.m.Payload)
			if err != nil {
				t.Fatal(err)
			}
			m.handle(p.to, out)
		}
		if m.now.UnixMilli()%50 != 0 {
			continue
		}
		for _, n := range m.names {
			if !m.stalled[n] {
				m.handle(n, m.nodes[n].Tick(m.at(n)))
			}
		}
	}
}

func (m *mesh) changes(to Status) []logged {
	var l []logged
	for _, c := range m.log {
		if c.To == to && c.From != to {
			l = append(l, c)
		}
	}
	return l
}

// settle runs until the start-up memory of gaps has decayed.
func (m *mesh) settle(t testing.TB) {
	t.Helper()
	m.run(t, time.Minute)
	for _, a := range m.names {
		for _, l := range m.nodes[a].Links() {
			if l.Status != Reachable {
				t.Fatalf("%s sees %s %v after a minute", a, l.Peer, l.Status)
			}
		}
	}
	if l := append(m.changes(Suspect), m.changes(Unreachable)...); len(l) > 0 {
		t.Fatalf("alarms in a healthy minute: %+v", l)
	}
	m.log = nil
}

func TestPartitionIsSeenByEveryNode(t *testing.T) {
	for seed := range uint64(20) {
		m := newMesh(5, seed)
		m.settle(t)
		// The design document's fixture: zone-b (n03, n04) is cut from all, itself included.
		b := map[string]bool{"n03": true, "n04": true}
		cut := m.now
		m.cut = func(x, y string) bool { return b[x] || b[y] }
		m.run(t, 3*time.Second)
		got := map[string]int{}
		for _, c := range m.changes(Unreachable) {
			got[c.node]++
			if d := c.Time.Sub(cut); d > 1200*time.Millisecond {
				t.Errorf("seed %d: %s declared %s after %v", seed, c.node, c.Peer, d)
			}
			if len(c.SeenBy) > 0 {
				t.Errorf("seed %d: %s says %s is seen by %v", seed, c.node, c.Peer, c.SeenBy)
			}
		}
		for _, n := range m.names {
			want := 2
			if b[n] {
				want = 4
			}
			if got[n] != want {
				t.Errorf("seed %d: %s declared %d peers, want %d", seed, n, got[n], want)
			}
		}
		m.log = nil
		m.cut = func(string, string) bool { return false }
		heal := m.now
		m.run(t, time.Second)
		back := m.changes(Reachable)
		if len(back) != 3*2+2*4 {
			t.Errorf("seed %d: %d returns, want 14", seed, len(back))
		}
		for _, c := range back {
			if d := c.Time.Sub(heal); d > 300*time.Millisecond {
				t.Errorf("seed %d: %s back at %s after %v", seed, c.Peer, c.node, d)
			}
		}
	}
}

func TestLinkFailureIsSeenByWitnesses(t *testing.T) {
	m := newMesh(5, 7)
	m.settle(t)
	m.cut = func(x, y string) bool { return x+y == "n00n01" || x+y == "n01n00" }
	m.run(t, 3*time.Second)
	l := m.changes(Unreachable)
	if len(l) != 2 {
		t.Fatalf("%d declared, want both ends: %+v", len(l), l)
	}
	for _, c := range l {
		if len(c.SeenBy) == 0 {
			t.Errorf("%s says no one hears %s", c.node, c.Peer)
		}
	}
}

// TestSuccessorIsNoWitness: who has not met a dead peer's successor yet is told by the
// others that they hear that one, which is no sign of life of the peer: it has died, and no
// link has failed.
func TestSuccessorIsNoWitness(t *testing.T) {
	m := newMesh(5, 7)
	m.settle(t)
	m.nodes["n01"] = New(Config{Self: "n01", Incarnation: 2})
	for _, n := range m.names {
		m.nodes["n01"].Add(m.now, n)
	}
	m.cut = func(x, y string) bool { return x+y == "n00n01" || x+y == "n01n00" } // not met
	m.run(t, 3*time.Second)
	for _, n := range m.names[2:] {
		if s := m.nodes[n].Status("n01"); s != Reachable {
			t.Fatalf("%s sees the successor %v: the test proves nothing", n, s)
		}
	}
	lost := 0
	for _, c := range m.changes(Unreachable) {
		if c.node == "n00" && c.Peer == "n01" {
			if lost++; len(c.SeenBy) > 0 {
				t.Errorf("the successor is a witness of the dead one's life: %v", c.SeenBy)
			}
		}
	}
	if lost == 0 {
		t.Error("the dead one was not missed")
	}
}

func TestOneWayCutDoesNotReturn(t *testing.T) {
	m := newMesh(3, 8)
	m.settle(t)
	m.cut = func(x, y string) bool { return x == "n00" || y == "n00" }
	m.run(t, 2*time.Second)
	m.log = nil
	// n00 hears everyone again, but no one hears n00.
	m.cut = func(x, _ string) bool { return x == "n00" }
	m.run(t, 5*time.Second)
	if l := m.changes(Reachable); len(l) > 0 {
		t.Fatalf("a one-way link counts as reachable: %+v", l)
	}
}

func TestOwnStallAccusesNoOne(t *testing.T) {
	m := newMesh(5, 9)
	m.settle(t)
	for range 5 {
		m.stalled["n00"] = true
		m.run(t, 5*time.Second)
		m.stalled["n00"] = false
		m.run(t, 5*time.Second)
	}
	for _, c := range m.changes(Unreachable) {
		if c.node == "n00" {
			t.Errorf("the stalled node accuses %s", c.Peer)
		}
	}
	if len(m.changes(Unreachable)) == 0 {
		t.Error("no one noticed a stall of 5 s: the test proves nothing")
	}
}

func TestSlowLinkRaisesSuspicionTime(t *testing.T) {
	d := New(Config{Self: "a", Incarnation: 1})
	now := time.Unix(1e9, 0)
	d.Add(now, "b")
	p := d.peers["b"]
	p.gap, p.gapTime = 200*time.Millisecond, now
	if s := d.suspicion(now, p); s != defaultMinSuspect {
		t.Errorf("suspicion of a quick link %v, want %v", s, defaultMinSuspect)
	}
	p.gap = 600 * time.Millisecond
	if s := d.suspicion(now, p); s != 900*time.Millisecond {
		t.Errorf("suspicion %v, want 900 ms", s)
	}
	if s := d.suspicion(now.Add(gapHalfLife), p); s != defaultMinSuspect {
		t.Errorf("suspicion after a half-life %v, want %v", s, defaultMinSuspect)
	}
	p.gap = time.Minute
	if s := d.suspicion(now, p); s != defaultMaxSuspect {
		t.Errorf("suspicion %v, want the bound %v", s, defaultMaxSuspect)
	}
}

func TestGoodbyeIsNoFailure(t *testing.T) {
	m := newMesh(3, 10)
	m.settle(t)
	m.handle("n00", Output{Send: m.nodes["n00"].Goodbye()})
	m.stalled["n00"] = true
	m.run(t, 5*time.Second)
	if l := m.changes(Unreachable); len(l) > 0 {
		t.Fatalf("a node that left counts as failed: %+v", l)
	}
	if s := m.nodes["n01"].Status("n00"); s != Unknown {
		t.Fatalf("status of a node that left: %v", s)
	}
	// It comes back as a new incarnation.
	m.stalled["n00"] = false
	m.queue = nil
	m.nodes["n00"] = New(Config{Self: "n00", Incarnation: 2})
	m.nodes["n00"].Add(m.now, "n01")
	m.nodes["n00"].Add(m.now, "n02")
	m.run(t, time.Second)
	if s := m.nodes["n01"].Status("n00"); s != Reachable {
		t.Fatalf("status of the returned node: %v", s)
	}
}

// TestGoodbyeBeforeTheFirstEcho: a peer that leaves before it was found reachable has
// said so all the same, and its successor raises no alarm, also if its echo comes
// before its first heartbeat.
func TestGoodbyeBeforeTheFirstEcho(t *testing.T) {
	m := newMesh(2, 14)
	here, first, second := m.nodes["n01"], m.nodes["n00"], New(Config{Self: "n00", Incarnation: 2})
	second.Add(m.now, "n01")
	var changes []Change
	receive := func(messages []Message) {
		for _, msg := range messages {
			out, err := here.Receive(m.now, "n00", msg.Type, msg.Payload)
			if err != nil {
				t.Fatal(err)
			}
			changes = append(changes, out.Changes...)
		}
	}
	receive(first.Tick(m.now).Send)
	receive(first.Goodbye())
	m.now = m.now.Add(5 * time.Second)
	for _, msg := range here.Tick(m.now).Send {
		out, err := second.Receive(m.now, "n01", msg.Type, msg.Payload)
		if err != nil {
			t.Fatal(err)
		}
		receive(out.Send) // the echo first
	}
	receive(second.Tick(m.now.Add(time.Second)).Send)
	if len(changes) != 1 || changes[0].To != Reachable || changes[0].Restarted {
		t.Errorf("want the successor reachable and nothing else: %+v", changes)
	}
}

func TestRestartIsReported(t *testing.T) {
	m := newMesh(2, 11)
	m.settle(t)
	m.nodes["n00"] = New(Config{Self: "n00", Incarnation: 2})
	m.nodes["n00"].Add(m.now, "n01")
	m.run(t, time.Second)
	for _, c := range m.log {
		if c.node == "n01" && c.Restarted {
			return
		}
	}
	t.Fatalf("no restart reported: %+v", m.log)
}

// TestSuccessorOfTheLost: also a peer that was found unreachable tells by its new
// incarnation that it was restarted, unless it said goodbye.
func TestSuccessorOfTheLost(t *testing.T) {
	for _, farewell := range []bool{false, true} {
		m := newMesh(2, 4)
		m.settle(t)
		if farewell {
			for _, msg := range m.nodes["n00"].Goodbye() {
				out, err := m.nodes["n01"].Receive(m.now, "n00", msg.Type, msg.Payload)
				if err != nil {
					t.Fatal(err)
				}
				m.handle("n01", out)
			}
		}
		m.stalled["n00"] = true
		m.run(t, 5*time.Second)
		want := Unreachable
		if farewell {
			want = Unknown
		}
		if s := m.nodes["n01"].Status("n00"); s != want {
			t.Fatalf("lost peer is %v, want %v", s, want)
		}
		m.log, m.queue = nil, nil
		m.stalled["n00"] = false
		m.nodes["n00"] = New(Config{Self: "n00", Incarnation: 2})
		m.nodes["n00"].Add(m.now, "n01")
		m.run(t, time.Second)
		restarted, returned := -1, -1
		for i, c := range m.log {
			switch {
			case c.node == "n01" && c.Restarted:
				restarted = i
				if !c.Missed {
					t.Error("it was missed")
				}
			case c.node == "n01" && c.To == Reachable:
				returned = i
			}
		}
		if farewell != (restarted < 0) || returned < 0 {
			t.Errorf("farewell %v: restarted %d, returned %d of %+v", farewell, restarted, returned, m.log)
		}
	}
}

// TestHealthyMeshRaisesNoAlarm: one virtual hour of 10 nodes with 1 % loss and
// 50 ms jitter; with MESH_TEST_LONG set, ten hours of 50 nodes (about a quarter
// of an hour).
func TestHealthyMeshRaisesNoAlarm(t *testing.T) {
	nodes, hours := 10, 1
	if os.Getenv("MESH_TEST_LONG") != "" {
		nodes, hours = 50, 10
	}
	m := newMesh(nodes, 12)
	m.settle(t)
	m.loss, m.jitter = 0.01, 50*time.Millisecond
	suspicions := 0
	for range hours * 60 {
		m.run(t, time.Minute)
		suspicions += len(m.changes(Suspect))
		if l := m.changes(Unreachable); len(l) > 0 {
			t.Fatalf("%d false alarms, first %+v", len(l), l[0])
		}
		m.log = nil
	}
	t.Logf("%d suspicions, none confirmed", suspicions)
	m.nodes["n00"].Remove("n01")
	if m.nodes["n00"].Status("n01") != Unknown || len(m.nodes["n00"].Links()) != nodes-2 {
		t.Error("removed peer still watched")
	}
}

func TestQualityFollowsLoss(t *testing.T) {
	m := newMesh(2, 13)
	m.settle(t)
	if q := m.nodes["n00"].Links()[0].Quality; q != 255 {
		t.Errorf("quality of a clean link %d", q)
	}
	m.loss = 0.2
	m.run(t, 30*time.Second)
	if q := m.nodes["n00"].Links()[0].Quality; q > 230 || q < 80 {
		t.Errorf("quality at 20 %% loss each way %d", q)
	}
}

func FuzzReceive(f *testing.F) {
	h := heartbeat{incarnation: 1, seq: 2, leaving: true}
	p := probe{id: 3, target: "n01"}
	for typ, payload := range map[frame.Type][]byte{
		frame.Heartbeat: h.encode(), frame.HeartbeatEcho: h.encode(), frame.ProbeRequest: p.encode(), frame.ProbeReply: p.encode(),
	} {
		for _, b := range hostile.Corpus(payload) {
			f.Add(byte(typ), b)
		}
	}
	f.Fuzz(func(t *testing.T, typ byte, payload []byte) {
		d := New(Config{Self: "n00", Incarnation: 1, Rand: rand.New(rand.NewPCG(1, 2))})
		now := time.Unix(1e9, 0)
		d.Add(now, "n01")
		out, err := d.Receive(now, "n01", frame.Type(typ), payload)
		if err != nil && len(out.Changes) > 0 {
			t.Errorf("malformed payload changed a status: %+v", out.Changes)
		}
	})
}
