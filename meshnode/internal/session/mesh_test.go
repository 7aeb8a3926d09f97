package session

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// mesh is a set of managers on one in-memory network, in a synctest bubble.
type mesh struct {
	t         *testing.T
	authority *identity.Authority
	net       *transport.Network
	nodes     map[Peer]*node
}

// node is one manager with everything it reports.
type node struct {
	*Manager
	name     Peer
	identity *identity.Node
	addr     netip.AddrPort
	table    *table
	metrics  *metrics
	stop     func()
	idle     atomic.Bool // nobody judges

	mu       sync.Mutex
	events   []Event
	messages []string // "peer payload"
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	a, err := identity.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return &mesh{t: t, authority: a, net: transport.NewNetwork(1), nodes: make(map[Peer]*node)}
}

// start adds a node, on an address of its own if addr is not valid.
func (w *mesh) start(name Peer, addr netip.AddrPort, change ...func(*Config)) *node {
	w.t.Helper()
	id, err := w.authority.NewNode(string(name), "zone-a", 24*time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.startAs(id, addr, change...)
}

func (w *mesh) startAs(id *identity.Node, addr netip.AddrPort, change ...func(*Config)) *node {
	w.t.Helper()
	if !addr.IsValid() {
		addr = transportAddr(id.Name())
	}
	conn, err := w.net.Listen(addr)
	if err != nil {
		w.t.Fatal(err)
	}
	n := &node{
		name: Peer(id.Name()), identity: id, addr: addr, metrics: newMetrics(),
		table: newTable(),
	}
	cfg := Config{
		Identity: id, Transport: conn, Table: n.table, Metrics: n.metrics,
		Limits: Limits{Workers: 1},
		OnEvent: func(e Event) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.events = append(n.events, e)
		},
		OnMessage: func(p Peer, t frame.Type, b []byte) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.messages = append(n.messages, fmt.Sprintf("%s %s", p, b))
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	if n.Manager, err = New(cfg); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	go func() {
		judge := time.NewTicker(20 * time.Millisecond)
		defer judge.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-judge.C:
				if !n.idle.Load() {
					n.Judge()
				}
			}
		}
	}()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("%s: Run: %v", n.name, err)
		}
		if len(n.table.entries) != 0 {
			w.t.Errorf("%s left %d sessions in the table", n.name, len(n.table.entries))
		}
	})
	w.nodes[n.name] = n
	return n
}

// transportAddr gives every name an address of its own.
func transportAddr(name string) netip.AddrPort {
	sum := sha256.Sum256([]byte(name))
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, sum[0], sum[1], sum[2]}), frame.Port)
}

func (w *mesh) stopAll() {
	for _, n := range w.nodes {
		n.stop()
	}
}

// connectAll makes every node connect to every other.
func (w *mesh) connectAll() {
	for _, n := range w.nodes {
		for _, o := range w.nodes {
			n.Connect(o.name, o.addr)
		}
	}
}

// verified reports whether every node verifies every other.
func (w *mesh) verified() bool {
	for _, n := range w.nodes {
		for _, o := range w.nodes {
			if n != o && !n.verifies(o) {
				return false
			}
		}
	}
	return true
}

// cut separates two nodes.
func (w *mesh) cut(a, b *node)  { w.net.Cut(a.addr.Addr(), b.addr.Addr()) }
func (w *mesh) heal(a, b *node) { w.net.Heal(a.addr.Addr(), b.addr.Addr()) }

// within advances virtual time until cond holds and returns how long it took;
// it fails the test after limit.
func (w *mesh) within(limit time.Duration, what string, cond func() bool) time.Duration {
	w.t.Helper()
	const tick = 10 * time.Millisecond
	for d := time.Duration(0); ; d += tick {
		synctest.Wait()
		if cond() {
			return d
		}
		if d >= limit {
			for _, n := range w.nodes {
				w.t.Logf("%s: %+v\nevents: %v", n.name, n.Sessions(), n.events)
			}
			w.t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(tick) // virtual
	}
}

// pass advances virtual time.
func (w *mesh) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// pair starts two connected nodes.
func (w *mesh) pair(change ...func(*Config)) (a, b *node) {
	w.t.Helper()
	a, b = w.start("a", netip.AddrPort{}, change...), w.start("b", netip.AddrPort{}, change...)
	w.connectAll()
	w.within(2*time.Second, "a and b verify each other", func() bool { return a.verifies(b) && b.verifies(a) })
	return a, b
}

func (n *node) info(p *node) Info {
	for _, i := range n.Sessions() {
		if i.Peer == p.name {
			return i
		}
	}
	return Info{}
}

func (n *node) verifies(p *node) bool { return n.info(p).State == StateVerified }

func (n *node) count(k Kind) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := 0
	for _, e := range n.events {
		if e.Kind == k {
			c++
		}
	}
	return c
}

func (n *node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events, n.messages = nil, nil
}

func (n *node) received(message string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := 0
	for _, m := range n.messages {
		if m == message {
			c++
		}
	}
	return c
}

// table stands in for the kernel's.
type table struct {
	mu      sync.Mutex
	entries map[frame.SessionID]Entry
	revoked map[frame.SessionID]bool
}

func newTable() *table {
	return &table{entries: make(map[frame.SessionID]Entry), revoked: make(map[frame.SessionID]bool)}
}

func (t *table) Put(id frame.SessionID, e Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.entries[id]; ok {
		return fmt.Errorf("session %s put twice", id)
	}
	t.entries[id] = e
	return nil
}

func (t *table) Delete(id frame.SessionID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.entries[id]; !ok {
		return fmt.Errorf("session %s is not there", id)
	}
	delete(t.entries, id)
	return nil
}

func (t *table) Revoke(id frame.SessionID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revoked[id] = true
	return nil
}

func (t *table) SetVerifiedUntil(id frame.SessionID, until time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries[id]
	if !ok {
		return fmt.Errorf("session %s is not there", id)
	}
	e.VerifiedUntil = until
	t.entries[id] = e
	return nil
}

// metrics counts by name.
type metrics struct {
	mu     sync.Mutex
	counts map[string]int
}

func newMetrics() *metrics { return &metrics{counts: make(map[string]int)} }

func (m *metrics) add(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[name]++
}

func (m *metrics) get(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[name]
}

func (m *metrics) Verification(ok bool, p attest.Priority) {
	m.add(fmt.Sprintf("verification %v %v", ok, p))
}
func (m *metrics) VerificationLatency(time.Duration)  { m.add("latency") }
func (m *metrics) VerificationTimeout()               { m.add("timeout") }
func (m *metrics) VerificationShed(p attest.Priority) { m.add("shed " + p.String()) }
func (m *metrics) SessionEstablished(reason string)   { m.add("established " + reason) }
func (m *metrics) SessionInvalidated(reason string)   { m.add("invalidated " + reason) }
func (m *metrics) KeysRotated(reason string)          { m.add("rotated " + reason) }
