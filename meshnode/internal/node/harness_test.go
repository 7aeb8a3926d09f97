package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// openGate is a Gate that lets everything pass while it is healthy.
type openGate struct {
	session.NoAdmission
	mu       sync.Mutex
	err      error
	noReturn bool
	seen     counts
}

func (*openGate) Put(frame.SessionID, session.Entry) error              { return nil }
func (*openGate) Delete(frame.SessionID) error                          { return nil }
func (*openGate) Revoke(frame.SessionID) error                          { return nil }
func (*openGate) SetVerifiedUntil(frame.SessionID, time.Duration) error { return nil }
func (*openGate) Mode() string                                          { return "none" }
func (g *openGate) Healthy() error                                      { g.mu.Lock(); defer g.mu.Unlock(); return g.err }
func (g *openGate) Counters() (map[string]uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.seen.verdicts), nil
}
func (g *openGate) Malformed() (map[string]uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.seen.rules), nil
}
func (g *openGate) lose(noReturn bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err, g.noReturn = errors.New("verifier was detached"), noReturn
}
func (g *openGate) Reattach() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.noReturn {
		return errors.New("no such device")
	}
	g.err = nil
	return nil
}

// zoneNames are the nodes of the reference mesh.
var zoneNames = []string{"mesh-node-a-0", "mesh-node-a-1", "mesh-node-a-2", "mesh-node-b-0", "mesh-node-b-1"}

// testMesh is whole nodes over an in-memory network, in a synctest bubble.
type testMesh struct {
	// discover is used in place of all, if set.
	discover Discoverer
	// configure changes a node's configuration, if set.
	configure func(name string, c *Config)

	hostile map[string]*hostile
	// side are honest nodes that no honest way connects with the others.
	side []string

	t     testing.TB
	names []string
	wait  func() // until everything rests; nothing in real time
	heal  bool
	net   *transport.Network
	auth  *identity.Authority
	// former are the roots before that of auth, as a trust bundle has them.
	former []*identity.PublicKey
	dirs   map[string]string
	all    Static
	nodes  map[string]*testNode
}

type testNode struct {
	*Node
	gate   *openGate
	addr   netip.Addr
	cancel context.CancelFunc
	done   chan error
}

func newTestMesh(t testing.TB, heal bool) *testMesh { return newTestMeshOf(t, heal, zoneNames) }

func newTestMeshOf(t testing.TB, heal bool, names []string) *testMesh {
	t.Helper()
	auth, err := identity.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	m := &testMesh{t: t, names: names, wait: synctest.Wait, heal: heal, net: transport.NewNetwork(1), auth: auth, dirs: map[string]string{}, nodes: map[string]*testNode{}}
	m.net.SetConditions(transport.Conditions{Latency: 500 * time.Microsecond, Jitter: 200 * time.Microsecond})
	for i, name := range names {
		m.dirs[name] = t.TempDir()
		m.all = append(m.all, Member{name, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), frame.Port)})
	}
	return m
}

func (m *testMesh) start(name string) {
	m.t.Helper()
	i := slices.Index(m.names, name)
	id, err := m.auth.NewNode(name, "zone-"+name[10:11], 24*time.Hour)
	if err != nil {
		m.t.Fatal(err)
	}
	trust := *id.Trust()
	trust.Former = m.former
	id.Update(id.Credential(), &trust)
	conn, err := m.net.Listen(m.all[i].Addr)
	if err != nil {
		m.t.Fatal(err)
	}
	gate := &openGate{seen: counts{map[string]uint64{}, map[string]uint64{}}}
	discover := m.discover
	if discover == nil {
		discover = m.all
	}
	cfg := Config{
		Identity: id, Transport: conn, Gate: gate, Dir: m.dirs[name], Discover: discover, Policy: mapek.DefaultPolicy(), Heal: m.heal,
		Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Version: "test",
		Limits: session.Limits{Workers: 2}, // as a small machine has, however many cores the test gets
	}
	if m.configure != nil {
		m.configure(name, &cfg)
	}
	n, err := New(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	if h := m.hostile[name]; h != nil {
		h.enlist(n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tn := &testNode{Node: n, gate: gate, addr: m.all[i].Addr.Addr(), cancel: cancel, done: make(chan error, 1)}
	m.nodes[name] = tn
	go func() { tn.done <- n.Run(ctx) }()
}

// stop ends a node; abruptly means that no goodbye arrives.
func (m *testMesh) stop(name string, abruptly bool) {
	m.t.Helper()
	n := m.nodes[name]
	if abruptly {
		for _, o := range m.nodes {
			m.net.Cut(n.addr, o.addr)
		}
	}
	n.cancel()
	if err := <-n.done; err != nil {
		m.t.Errorf("%s: %v", name, err)
	}
	delete(m.nodes, name)
}

// up starts all nodes, waits until every pair is verified, and then until the
// caution of the start has gone.
func (m *testMesh) up() {
	m.t.Helper()
	for _, name := range m.names {
		m.start(name)
	}
	m.within(5*time.Second, "every pair verified", m.whole)
	time.Sleep(20 * time.Second)
}

func (m *testMesh) down() {
	for name := range m.nodes {
		m.stop(name, false)
	}
}

// whole reports what is missing for every pair of running nodes to be verified.
func (m *testMesh) whole() error {
	for name, n := range m.nodes {
		for _, p := range n.Status().Peers {
			if m.nodes[p.Name] != nil && (p.Status != "reachable" || p.Session != "verified") {
				return fmt.Errorf("%s sees %s %s, session %s", name, p.Name, p.Status, p.Session)
			}
		}
		if got := len(n.Status().Peers); got < len(m.nodes)-1 {
			return fmt.Errorf("%s knows %d peers", name, got)
		}
	}
	return nil
}

// within waits in virtual time until check returns nil and returns how long it
// took.
func (m *testMesh) within(limit time.Duration, what string, check func() error) time.Duration {
	m.t.Helper()
	start := time.Now()
	for {
		m.wait()
		err := check()
		took := time.Since(start)
		if err == nil {
			return took
		}
		if took >= limit {
			m.t.Errorf("%s: not within %v: %v", what, limit, err)
			return took
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// partition is the design document's fixture: zone-b is cut from everyone, its
// own pods included.
func (m *testMesh) partition() {
	for a, x := range m.nodes {
		for b, y := range m.nodes {
			if a != b && (a[10] == 'b' || b[10] == 'b') {
				m.net.Cut(x.addr, y.addr)
			}
		}
	}
}

func (n *testNode) detected(typ string) float64 {
	return testutil.ToFloat64(n.metrics.Detected.WithLabelValues(typ))
}

// incidents returns how often each incident type was counted, without zeros.
func (n *testNode) incidents() map[string]float64 {
	got := map[string]float64{}
	for _, typ := range []string{"network_partition", "node_crash", "link_failure", "verification_failed", "high_failure_rate", "resource_exhaustion"} {
		if v := n.detected(typ); v > 0 {
			got[typ] = v
		}
	}
	return got
}

func (n *testNode) events(match func(event.Entry) bool) []event.Entry {
	return slices.DeleteFunc(n.Events(0, 1<<20), func(e event.Entry) bool { return !match(e) })
}

// openIncidents describes the incidents that are not over.
func (n *testNode) openIncidents() []string {
	var open []string
	for _, i := range n.Status().Incidents {
		if i.Resolved.IsZero() {
			open = append(open, i.Type+" of "+strings.Join(i.Peers, " "))
		}
	}
	return open
}

// next is the next hop to a destination, empty if there is no way.
func (n *testNode) next(destination string) string {
	for _, r := range n.Status().Routes {
		if r.Destination == destination {
			return r.NextHop
		}
	}
	return ""
}
