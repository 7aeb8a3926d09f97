package route

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
)

// mesh runs tables against each other over links in virtual time.
type mesh struct {
	t       testing.TB
	now     time.Time
	rng     *rand.Rand
	names   []string
	tables  map[string]*Table
	up      map[[2]string]bool // both orders
	queue   []packet
	loss    float64
	changed map[string]int
}

type packet struct {
	from string
	m    Message
}

func newMesh(t testing.TB, n int, seed uint64) *mesh {
	m := &mesh{t: t, now: time.Unix(1e9, 0), rng: rand.New(rand.NewPCG(seed, 3)), tables: map[string]*Table{}, up: map[[2]string]bool{}, changed: map[string]int{}}
	for i := range n {
		name := fmt.Sprintf("n%02d", i)
		m.names = append(m.names, name)
		m.tables[name] = New(name, vouching{name, 1})
	}
	return m
}

func (m *mesh) full() {
	for i, a := range m.names {
		for _, b := range m.names[:i] {
			m.link(a, b, 255)
		}
	}
}

func (m *mesh) out(node string, o Output) {
	m.changed[node] += o.Changed
	for _, s := range o.Send {
		m.queue = append(m.queue, packet{node, s})
	}
	m.noLoop()
}

// link sets the quality of both directions; 0 cuts the link and fails both
// ends, as the detector and the control loop do.
func (m *mesh) link(a, b string, q uint8) {
	m.up[[2]string{a, b}], m.up[[2]string{b, a}] = q > 0, q > 0
	if q == 0 {
		m.out(a, m.tables[a].Fail(m.now, b))
		m.out(b, m.tables[b].Fail(m.now, a))
		return
	}
	m.out(a, m.tables[a].SetLink(m.now, b, q))
	m.out(b, m.tables[b].SetLink(m.now, a, q))
}

// deliver delivers what is queued, in random order.
func (m *mesh) deliver() {
	for n := 0; len(m.queue) > 0; n++ {
		if n > 200000 {
			m.t.Fatal("messages never end")
		}
		i := m.rng.IntN(len(m.queue))
		p := m.queue[i]
		m.queue[i] = m.queue[len(m.queue)-1]
		m.queue = m.queue[:len(m.queue)-1]
		if !m.up[[2]string{p.from, p.m.To}] || m.rng.Float64() < m.loss {
			continue
		}
		o, err := m.tables[p.m.To].Receive(m.now, p.from, p.m.Payload)
		if err != nil {
			m.t.Fatal(err)
		}
		m.out(p.m.To, o)
	}
}

func (m *mesh) run(d time.Duration) {
	const step = 100 * time.Millisecond
	for end := m.now.Add(d); m.now.Before(end); m.now = m.now.Add(step) {
		for _, n := range m.names {
			m.out(n, m.tables[n].Tick(m.now))
		}
		m.deliver()
	}
}

// noLoop checks the invariant: following next hops never comes back.
func (m *mesh) noLoop() {
	for _, dest := range m.names {
		for _, start := range m.names {
			at := start
			for hops := 0; at != dest; hops++ {
				next, ok := m.tables[at].Next(dest)
				if !ok {
					break
				}
				if hops > len(m.names) {
					m.t.Fatalf("loop to %s from %s through %s", dest, start, at)
				}
				at = next
			}
		}
	}
}

// reach checks that start reaches dest over links that are up, and returns the
// number of hops.
func (m *mesh) reach(start, dest string) (int, bool) {
	at := start
	for hops := 0; ; hops++ {
		if at == dest {
			return hops, true
		}
		next, ok := m.tables[at].Next(dest)
		if !ok || !m.up[[2]string{at, next}] {
			return hops, false
		}
		at = next
	}
}

func TestFullMeshIsDirectAndQuiet(t *testing.T) {
	m := newMesh(t, 5, 1)
	m.full()
	m.run(3 * time.Second)
	for _, a := range m.names {
		for _, b := range m.names {
			if hops, ok := m.reach(a, b); a != b && (!ok || hops != 1) {
				t.Errorf("%s to %s: %d hops, %v", a, b, hops, ok)
			}
		}
		if r := m.tables[a].Routes(); len(r) != 4 || r[0].Standby == "" {
			t.Errorf("%s routes %+v: want 4 with standby", a, r)
		}
	}
	clear(m.changed)
	m.loss = 0.01
	m.run(time.Minute)
	if len(m.changed) > 0 {
		for n, c := range m.changed {
			if c > 0 {
				t.Errorf("%s changed %d routes in a healthy minute", n, c)
			}
		}
	}
}

func TestCutLinkIsRoutedAround(t *testing.T) {
	m := newMesh(t, 3, 2)
	m.full()
	m.run(3 * time.Second)
	clear(m.changed)
	m.link("n00", "n01", 0)
	m.deliver()
	if hops, ok := m.reach("n00", "n01"); !ok || hops != 2 {
		t.Fatalf("after the cut: %d hops, %v: %+v", hops, ok, m.tables["n00"].Routes())
	}
	if m.changed["n00"] == 0 {
		t.Error("no change counted")
	}
	m.link("n00", "n01", 255)
	m.run(2 * time.Second)
	if hops, ok := m.reach("n00", "n01"); !ok || hops != 1 {
		t.Fatalf("after the heal: %d hops, %v", hops, ok)
	}
}

// TestLostWayIsAskedFor: the only other way is longer than the lost one, so that
// it is no feasible way before the destination, which knows nothing of the
// cut, has been asked for a newer sequence.
func TestLostWayIsAskedFor(t *testing.T) {
	m := newMesh(t, 6, 8)
	for _, l := range [][2]string{{"n00", "n01"}, {"n01", "n04"}, {"n00", "n02"}, {"n02", "n03"}, {"n03", "n05"}, {"n05", "n04"}} {
		m.link(l[0], l[1], 255)
	}
	m.run(5 * time.Second)
	if hops, ok := m.reach("n00", "n04"); !ok || hops != 2 {
		t.Fatalf("%d hops, %v", hops, ok)
	}
	m.link("n00", "n01", 0)
	m.deliver() // without time passing
	for _, dest := range []string{"n04", "n01"} {
		if _, ok := m.reach("n00", dest); !ok {
			t.Errorf("no way to %s: %+v", dest, m.tables["n00"].Routes())
		}
	}
	// What a lost answer costs is one repetition.
	m.link("n00", "n01", 255)
	m.run(5 * time.Second)
	m.link("n00", "n01", 0)
	m.queue = nil
	m.run(500 * time.Millisecond)
	if _, ok := m.reach("n00", "n04"); !ok {
		t.Errorf("no way after a lost request: %+v", m.tables["n00"].Routes())
	}
}

func TestPartitionWithdrawsRoutes(t *testing.T) {
	m := newMesh(t, 5, 3)
	m.full()
	m.run(3 * time.Second)
	clear(m.changed)
	for i, a := range m.names {
		for _, b := range m.names[:i] {
			if a >= "n03" {
				m.link(a, b, 0)
			}
		}
	}
	m.deliver()
	for _, n := range m.names {
		want := 2
		if n >= "n03" {
			want = 0
		}
		if r := m.tables[n].Routes(); len(r) != want {
			t.Errorf("%s has routes %+v, want %d", n, r, want)
		}
		if m.changed[n] == 0 {
			t.Errorf("%s counted no change", n)
		}
	}
}

// TestWithoutFail: a neighbour that only falls silent is left by the sliding
// window, more slowly than by Fail.
func TestWithoutFail(t *testing.T) {
	m := newMesh(t, 3, 4)
	m.full()
	m.run(3 * time.Second)
	m.up[[2]string{"n00", "n01"}], m.up[[2]string{"n01", "n00"}] = false, false
	m.run(time.Second)
	if _, ok := m.reach("n00", "n01"); ok {
		t.Fatal("a silent neighbour was left within a second: Fail would prove nothing")
	}
	m.run(6 * time.Second)
	if _, ok := m.reach("n00", "n01"); !ok {
		t.Fatalf("no way after 7 s: %+v", m.tables["n00"].Routes())
	}
}

func TestQualityDecidesWithHysteresis(t *testing.T) {
	m := newMesh(t, 3, 5)
	m.full()
	m.run(3 * time.Second)
	m.link("n00", "n01", 235)
	m.run(5 * time.Second)
	if hops, _ := m.reach("n00", "n01"); hops != 1 {
		t.Error("a slightly worse link was left")
	}
	m.link("n00", "n01", 120)
	m.run(5 * time.Second)
	if hops, _ := m.reach("n00", "n01"); hops != 2 {
		t.Errorf("a bad link is still used: %+v", m.tables["n00"].Routes())
	}
	m.link("n00", "n01", 255)
	m.run(5 * time.Second)
	if hops, _ := m.reach("n00", "n01"); hops != 1 {
		t.Error("the repaired link is not used")
	}
}

// TestNoLoopEver checks the invariant after every single message over random
// topologies with loss, random delivery order and random changes; and that
// whatever is connected is reached once changes stop.
func TestNoLoopEver(t *testing.T) {
	for seed := range uint64(30) {
		m := newMesh(t, 4+int(seed%5), seed)
		m.loss = 0.2
		for range 60 {
			i, j := m.rng.IntN(len(m.names)), m.rng.IntN(len(m.names))
			if i != j {
				q := uint8(0)
				if m.rng.IntN(3) > 0 {
					q = uint8(50 + m.rng.IntN(206))
				}
				m.link(m.names[i], m.names[j], q)
			}
			m.run(time.Duration(m.rng.IntN(20)) * 100 * time.Millisecond)
		}
		m.loss = 0
		m.run(15 * time.Second)
		for _, a := range m.names {
			seen := map[string]bool{a: true}
			for todo := []string{a}; len(todo) > 0; todo = todo[1:] {
				for _, b := range m.names {
					if !seen[b] && m.up[[2]string{todo[0], b}] {
						seen[b] = true
						todo = append(todo, b)
					}
				}
			}
			for b := range seen {
				if _, ok := m.reach(a, b); !ok {
					t.Fatalf("seed %d: %s does not reach %s: %+v", seed, a, b, m.tables[a].Routes())
				}
			}
		}
	}
}

func TestRestartedOriginator(t *testing.T) {
	m := newMesh(t, 3, 6)
	m.full()
	m.run(time.Minute)
	m.tables["n01"] = New("n01", vouching{"n01", 2})
	m.out("n01", m.tables["n01"].SetLink(m.now, "n00", 255))
	m.out("n01", m.tables["n01"].SetLink(m.now, "n02", 255))
	m.run(2 * time.Second)
	if _, ok := m.reach("n00", "n01"); !ok {
		t.Fatal("a restarted node's lower sequences are ignored")
	}
	m.out("n00", m.tables["n00"].Forget(m.now, "n01"))
	if m.tables["n00"].Uses("n01") || m.tables["n00"].Failed("n01") {
		t.Error("forgotten neighbour still in use")
	}
}

// TestOriginatorsOfAnyLength: a name may be said to be as long as a byte can tell, and as much may
// follow.
func TestOriginatorsOfAnyLength(t *testing.T) {
	for _, length := range []byte{0, 64, 254, 255} {
		b := append([]byte{0, length}, make([]byte, 300)...)
		if m, err := decode(b); !errors.Is(err, ErrMessage) {
			t.Errorf("a name of %d bytes decodes as %+v, %v", length, m, err)
		}
	}
}

func FuzzReceive(f *testing.F) {
	for _, bad := range []message{
		{originator: "", hops: 3}, {originator: strings.Repeat("n", 64), hops: 3},
		{originator: "n02"}, {originator: "n02", hops: maxHops + 1}, {kind: anchored, originator: "n02", hops: 3}, {originator: "\xff\xfe", hops: 3},
	} {
		b := bad.append(nil)
		if m, err := decode(b); !errors.Is(err, ErrMessage) {
			f.Errorf("%x decodes as %+v", b, m)
		}
	}
	m := message{originator: "n02", distance: distance{1, 2, 200}, hops: 3}
	asks := m
	asks.kind = request
	anchors := New("n02", vouching{"n02", 1})
	long := make([]byte, 300)
	for _, b := range hostile.Corpus(
		m.append(nil), asks.append(m.append(nil)), anchors.anchor, nil, append([]byte{0, 254}, long...), append([]byte{0, 255}, long...),
	) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tb := New("n00", vouching{"n00", 1})
		now := time.Unix(1e9, 0)
		tb.SetLink(now, "n01", 255)
		if _, err := tb.Receive(now, "n01", b); err != nil && len(tb.Routes()) > 0 {
			t.Error("a malformed message made a route")
		}
		if next, ok := tb.Next("n00"); ok {
			t.Errorf("route to itself through %s", next)
		}
	})
}
