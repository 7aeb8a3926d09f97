package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/verifier"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// field is session managers in network namespaces, each behind a verifier of its own: the
// part of a node that first contact is about, so that a test can ask for a handshake when
// it wants one.
type field struct {
	*cluster
	authority *identity.Authority
	members   map[string]*member
}

type member struct {
	*session.Manager
	name     session.Peer
	addr     netip.AddrPort
	verifier *verifier.Verifier
	calls    *calls
	leave    func()
}

// detours are the routes of a member: by whom it goes to whom; straight to all others.
type detours map[session.Peer]session.Peer

func (d detours) Next(p session.Peer) (session.Peer, bool) {
	if via, ok := d[p]; ok {
		return via, true
	}
	return p, true
}
func (detours) Forwarded()                   {}
func (detours) Arrived(session.Peer)         {}
func (detours) Refused(session.Peer, string) {}

// calls is a Conn that remembers the parts of the last init message sent to an address.
type calls struct {
	transport.Conn
	mu   sync.Mutex
	sent map[netip.AddrPort]map[uint8][]byte
}

func (c *calls) WriteTo(b []byte, to netip.AddrPort) error {
	if h, payload, err := frame.Parse(b); err == nil && h.Type == frame.HandshakeInit {
		c.mu.Lock()
		if h.Fragment == 0 {
			c.sent[to] = map[uint8][]byte{}
		}
		c.sent[to][h.Fragment] = append([]byte(nil), payload[frame.HandshakePrefix:]...)
		c.mu.Unlock()
	}
	return c.Conn.WriteTo(b, to)
}

// observed is the init message that was sent last to an address.
func (c *calls) observed(to netip.AddrPort) (message []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range len(c.sent[to]) {
		message = append(message, c.sent[to][uint8(i)]...)
	}
	return message
}

// start starts a member at a place of the network.
func (f *field) start(place, name string, routes detours) *member {
	f.t.Helper()
	id, err := f.authority.NewNode(name, "zone-a", time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	m := &member{
		name: session.Peer(name), addr: netip.AddrPortFrom(netip.MustParseAddr(f.procs[place].ip), frame.Port),
		calls: &calls{sent: map[netip.AddrPort]map[uint8][]byte{}},
	}
	var conn *transport.UDP
	if err := inNamespace(f.procs[place].ns, func() (err error) {
		if conn, err = transport.ListenUDP(m.addr, "eth0"); err == nil {
			m.verifier, err = verifier.Open(verifier.Config{Interface: "eth0", Sessions: 64})
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	m.calls.Conn = conn
	gate := kernelGate{m.verifier, conn}
	if m.Manager, err = session.New(session.Config{
		Identity: id, Transport: m.calls, Table: gate, Admission: gate, Signatures: kernelSignatures{m.verifier}, Now: verifier.Now, Relays: routes,
	}); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := m.Run(ctx); err != nil {
			f.t.Errorf("%s: %v", name, err)
		}
	})
	done.Go(func() {
		for ticker := time.NewTicker(20 * time.Millisecond); ; m.Judge() {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return
			case <-ticker.C:
			}
		}
	})
	m.leave = sync.OnceFunc(func() {
		cancel()
		done.Wait()
		if err := m.verifier.Close(); err != nil {
			f.t.Error(err)
		}
	})
	f.t.Cleanup(m.leave)
	f.members[name] = m
	return m
}

// session is the id of the session that both ends of a pair take for verified.
func (m *member) session(o *member) (id frame.SessionID, ok bool) {
	of := func(m, o *member) (id frame.SessionID) {
		for _, i := range m.Sessions() {
			if i.Peer == o.name && i.State == session.StateVerified {
				id = i.ID
			}
		}
		return id
	}
	id = of(m, o)
	return id, id != frame.SessionID{} && id == of(o, m)
}

// meets makes two members connect, and returns how long they take to verify each other.
func (f *field) meets(a, b *member) time.Duration {
	f.t.Helper()
	a.Connect(b.name, b.addr)
	b.Connect(a.name, a.addr)
	return f.within(patience, fmt.Sprintf("%s and %s verify each other", a.name, b.name), func() error {
		if _, ok := a.session(b); !ok {
			return fmt.Errorf("no session: %+v", a.Sessions())
		}
		return nil
	})
}

// renews has a member make a new session with another, and returns how long they take.
func (f *field) renews(a, b *member) time.Duration {
	f.t.Helper()
	old, _ := a.session(b)
	a.Rotate(b.name, "test")
	return f.within(patience, fmt.Sprintf("a new session of %s and %s", a.name, b.name), func() error {
		if id, ok := a.session(b); !ok || id == old {
			return fmt.Errorf("none: %+v", a.Sessions())
		}
		return nil
	})
}

// patience is how long a handshake may take on any machine, in any flood, before the
// test gives up: several calls, each of which fails after 8 s.
const patience = time.Minute

func (m *member) verdicts(t *testing.T) map[string]uint64 {
	t.Helper()
	counts, err := m.verifier.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return counts
}
