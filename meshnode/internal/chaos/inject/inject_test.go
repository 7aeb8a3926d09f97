package inject

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/node"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// openGate is the gate of nodes without a kernel.
type openGate struct {
	noTable
	session.NoAdmission
}

func (openGate) Healthy() error                        { return nil }
func (openGate) Reattach() error                       { return nil }
func (openGate) Mode() string                          { return "none" }
func (openGate) Counters() (map[string]uint64, error)  { return nil, nil }
func (openGate) Malformed() (map[string]uint64, error) { return nil, nil }

// mesh is whole nodes over an in-memory network, in a synctest bubble.
type mesh struct {
	t       *testing.T
	net     *transport.Network
	auth    *identity.Authority
	members node.Static
	nodes   map[string]*node.Node
	metrics map[string]*prometheus.Registry
	stop    context.CancelFunc
	done    chan error
	port    atomic.Uint32
}

func newMesh(t *testing.T, names ...string) *mesh {
	t.Helper()
	auth, err := identity.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{
		t: t, net: transport.NewNetwork(1), auth: auth,
		nodes: map[string]*node.Node{}, metrics: map[string]*prometheus.Registry{}, done: make(chan error, len(names)),
	}
	m.net.SetConditions(transport.Conditions{Latency: 500 * time.Microsecond, Jitter: 200 * time.Microsecond})
	for i, name := range names {
		m.members = append(m.members, node.Member{Name: name, Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), frame.Port)})
	}
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	for _, member := range m.members {
		id, err := auth.NewNode(member.Name, "", 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := m.net.Listen(member.Addr)
		if err != nil {
			t.Fatal(err)
		}
		reg := prometheus.NewRegistry()
		n, err := node.New(node.Config{
			Identity: id, Transport: conn, Gate: openGate{}, Dir: t.TempDir(), Discover: m.members, Policy: mapek.DefaultPolicy(), Heal: true,
			Registry: reg, Logger: slog.New(slog.DiscardHandler), Version: "test",
		})
		if err != nil {
			t.Fatal(err)
		}
		m.nodes[member.Name], m.metrics[member.Name] = n, reg
		go func() { m.done <- n.Run(ctx) }()
	}
	m.within(5*time.Second, "every pair verified", m.whole)
	return m
}

func (m *mesh) down() {
	m.stop()
	for range m.nodes {
		if err := <-m.done; err != nil {
			m.t.Error(err)
		}
	}
}

// within waits, in virtual time.
func (m *mesh) within(limit time.Duration, what string, check func() error) {
	m.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			m.t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
	}
}

// whole checks that every node has verified sessions with the others and no more, and
// no open incident.
func (m *mesh) whole() error {
	for name, n := range m.nodes {
		if got := m.count(name, metric.Sessions, metric.StateVerified); int(got) != len(m.nodes)-1 {
			return fmt.Errorf("%s: %v verified sessions", name, got)
		}
		for _, i := range n.Status().Incidents {
			if i.Resolved.IsZero() {
				return fmt.Errorf("%s: incident %s about %v", name, i.Type, i.Peers)
			}
		}
	}
	return nil
}

// count sums a node's series of a metric that have all the label values.
func (m *mesh) count(name, metricName string, values ...string) float64 {
	m.t.Helper()
	families, err := m.metrics[name].Gather()
	if err != nil {
		m.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != metricName {
			continue
		}
		for _, s := range f.GetMetric() {
			found := 0
			for _, l := range s.GetLabel() {
				if slices.Contains(values, l.GetValue()) {
					found++
				}
			}
			if found == len(values) {
				sum += s.GetCounter().GetValue() + s.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// attack runs an attack of a member "injector" on all nodes.
func (m *mesh) attack(change func(*Config)) ([]Counts, error) {
	id, err := m.auth.NewNode("injector", "", time.Hour)
	if err != nil {
		m.t.Fatal(err)
	}
	cfg := Config{Identity: id, Interval: 100 * time.Millisecond, Stay: 5 * time.Second, Listen: func() (transport.Conn, error) {
		return m.net.Listen(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 99}), uint16(40000+m.port.Add(1))))
	}}
	for _, t := range m.members {
		cfg.Targets = append(cfg.Targets, Target(t))
	}
	change(&cfg)
	return Run(context.Background(), cfg)
}

// innocent checks that nodes did nothing about each other.
func (m *mesh) innocent() {
	m.t.Helper()
	for name, n := range m.nodes {
		for _, e := range n.Events(0, 10000) {
			if e.Kind == metric.InvalidateSession && e.Subject != "injector" {
				m.t.Errorf("%s invalidated a session: %+v", name, e)
			}
		}
		if got := m.count(name, metric.PeerStatus, "unreachable"); got != 0 {
			m.t.Errorf("%s misses %v peers", name, got)
		}
	}
}

func TestBadSignaturesAndUnknownKeys(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newMesh(t, "a-0", "a-1", "b-0")
		defer m.down()
		counts, err := m.attack(func(c *Config) { c.Signatures, c.UnknownKeys = 10, 7 })
		if err != nil {
			t.Fatal(err)
		}
		left := time.Now()
		for _, c := range counts {
			if c.Signatures != 10 || c.UnknownKeys != 7 {
				t.Errorf("sent %+v", c)
			}
			for what, v := range map[string][2]float64{
				"bad signatures":    {m.count(c.Node, metric.AnomaliesTotal, metric.VerificationFailed), 10},
				"unknown keys":      {m.count(c.Node, metric.AnomaliesTotal, metric.UnknownPubkey), 7},
				"high failure rate": {m.count(c.Node, metric.AnomaliesDetected, metric.HighFailureRate), 1},
				// After the third bad signature, and again when their rate is high: the session is
				// another one by then, and as bad.
				"invalidated":   {m.count(c.Node, metric.SessionsInvalidatedTotal, metric.VerificationFailed), 2},
				"new keys":      {m.count(c.Node, metric.KeyRotationsTotal, metric.ReasonCompromise), 1},
				"new keys seen": {m.count(c.Node, metric.HealingActionsTotal, metric.RotateKeys, metric.OutcomeDone), 1},
			} {
				if v[0] != v[1] {
					t.Errorf("%s: %s: %v, want %v", c.Node, what, v[0], v[1])
				}
			}
		}
		m.innocent()
		// The rate's window is a minute, and so is the memory of an absent member.
		m.within(90*time.Second, "the injector forgotten", func() error {
			for name, n := range m.nodes {
				for _, p := range n.Status().Peers {
					if p.Name == "injector" {
						return fmt.Errorf("%s still knows it as %s", name, p.Status)
					}
				}
			}
			return m.whole()
		})
		t.Logf("forgotten %v after it left", time.Since(left))
		m.innocent()
		for name := range m.nodes {
			if got := m.count(name, metric.AnomaliesDetected); got != 2 { // the failures and their rate
				t.Errorf("%s: %v incidents", name, got)
			}
		}
	})
}

func TestVerifiedSessionsAreBackSoonAfterTheInjectorLeft(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newMesh(t, "a-0", "a-1")
		defer m.down()
		if _, err := m.attack(func(c *Config) { c.Signatures = 2 }); err != nil {
			t.Fatal(err)
		}
		m.within(6*time.Second, "only the members' sessions verified", func() error {
			for name := range m.nodes {
				if got := m.count(name, metric.Sessions, metric.StateVerified); got != 1 {
					return fmt.Errorf("%s: %v", name, got)
				}
			}
			return nil
		})
	})
}

func TestForgedFramesDoNothing(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newMesh(t, "a-0", "a-1")
		defer m.down()
		counts, err := m.attack(func(c *Config) { c.Forged = 20 })
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range counts {
			if c.Forged != 20*2*len(forgedTypes) || c.Signatures != 0 || c.UnknownKeys != 0 {
				t.Errorf("sent %+v", c)
			}
			for _, name := range []string{metric.AnomaliesTotal, metric.SessionsInvalidatedTotal, metric.VerificationsFailed, metric.AnomaliesDetected} {
				if got := m.count(c.Node, name); got != 0 {
					t.Errorf("%s: %s is %v", c.Node, name, got)
				}
			}
		}
	})
}

// A node that does not answer is said to, and so is who it is.
func TestNobodyThere(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newMesh(t, "a-0", "a-1")
		defer m.down()
		nobody := Target{"nobody", netip.MustParseAddrPort("10.0.0.50:26970")}
		_, err := m.attack(func(c *Config) { c.Signatures, c.Targets = 1, append(c.Targets, nobody) })
		if want := "no session with [nobody] within 10s: context deadline exceeded"; err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
	})
}
