package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	wire "encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

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
	if err := inNamespace(f.procs[place].ns, func() (err error) {
		if m.calls.Conn, err = transport.ListenUDP(m.addr); err == nil {
			m.verifier, err = verifier.Open(verifier.Config{Interface: "eth0", Sessions: 64})
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	gate := kernelGate{m.verifier}
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

// attack is a flood of forged handshake frames.
type attack struct {
	frames [][]byte // IP packets
	rate   int      // per second
}

// forgeries makes n forged frames for a member, of all types of handshake messages, or,
// if a call was observed, whole calls like that one.
func forgeries(n int, to *member, source func(i int) netip.AddrPort, observed []byte) (packets [][]byte) {
	types := []frame.Type{frame.HandshakeInit, frame.HandshakeReply, frame.HandshakeFinish, frame.HandshakeCookie}
	for i := 0; len(packets) < n; i++ {
		from := source(i)
		if observed == nil {
			part := make([]byte, 1000)
			rand.Read(part)
			h := frame.Header{Type: types[i%len(types)], Fragment: uint8(i / len(types) % 5), Fragments: 5, Length: uint16(len(part))}
			b := make([]byte, frame.HeaderLen, frame.HeaderLen+len(part))
			h.Put(b, frame.Key{})
			packets = append(packets, packet(append(b, part...), from, to.addr))
			continue
		}
		message := append([]byte(nil), observed...)
		rand.Read(message[8:40]) // the nonce
		id := sha256.Sum256(message)
		parts := transport.Split(message, frame.MaxPayload-frame.HandshakePrefix)
		for k, p := range parts {
			h := frame.Header{
				Type: frame.HandshakeInit, Fragment: uint8(k), Fragments: uint8(len(parts)), Length: uint16(frame.HandshakePrefix + len(p)),
			}
			b := make([]byte, frame.HeaderLen, frame.HeaderLen+int(h.Length))
			h.Put(b, frame.Key{})
			b = append(append(b, id[:16]...), make([]byte, 16)...)
			packets = append(packets, packet(append(b, p...), from, to.addr))
		}
	}
	return packets
}

// packet is an IPv4 packet whose checksum the kernel fills in; UDP has none.
func packet(datagram []byte, from, to netip.AddrPort) []byte {
	const udp, ttl, proto = 8, 64, 17
	b := make([]byte, ipv4.HeaderLen+udp, ipv4.HeaderLen+udp+len(datagram))
	b[0], b[8], b[9] = ipv4.Version<<4|ipv4.HeaderLen/4, ttl, proto
	wire.BigEndian.PutUint16(b[2:], uint16(cap(b)))
	copy(b[12:], from.Addr().AsSlice())
	copy(b[16:], to.Addr().AsSlice())
	wire.BigEndian.PutUint16(b[20:], from.Port())
	wire.BigEndian.PutUint16(b[22:], to.Port())
	wire.BigEndian.PutUint16(b[24:], uint16(udp+len(datagram)))
	return append(b, datagram...)
}

// flood sends frames from the hub at a rate until stop is called, which returns how many
// were sent and in what time.
func (f *field) flood(a attack, to *member) (stop func() (sent int, took time.Duration)) {
	f.t.Helper()
	var raw *ipv4.RawConn
	if err := f.inHub(func() error {
		conn, err := net.ListenPacket("ip4:255", hubIP) // raw(7): what is sent has its IP header
		if err == nil {
			raw, err = ipv4.NewRawConn(conn)
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	messages := make([]ipv4.Message, len(a.frames))
	for i, b := range a.frames {
		messages[i] = ipv4.Message{Buffers: [][]byte{b}, Addr: &net.IPAddr{IP: to.addr.Addr().AsSlice()}}
	}
	var over atomic.Bool
	var sent int
	begin, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for at := 0; !over.Load(); <-ticker.C {
			// Late ticks are made up for, but not without end: the rate is a rate.
			due := min(int(time.Since(begin).Seconds()*float64(a.rate))-sent, a.rate/20)
			for due > 0 {
				n, err := raw.WriteBatch(messages[at:min(at+due, len(messages))], 0)
				if err != nil {
					f.t.Errorf("flood: %v", err)
					return
				}
				sent, due, at = sent+n, due-n, (at+n)%len(messages)
			}
		}
	}()
	stop = func() (int, time.Duration) {
		over.Store(true)
		<-done
		return sent, time.Since(begin)
	}
	f.t.Cleanup(func() {
		stop()
		if err := raw.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return stop
}

func (m *member) verdicts(t *testing.T) map[string]uint64 {
	t.Helper()
	counts, err := m.verifier.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// TestFloodOfFirstContact: while forged handshake frames arrive at a node, members that it
// knows make new sessions with it and new ones get in, directly and by relay. The flood
// has one source, the attacker's own, that of a peer, or 10,000; it is of noise, or of whole
// calls with a certificate that was observed. What passes the kernel of it is bounded.
//
// How long it takes is measured, and judged only in the long test, which sends 100,000
// frames a second as far as the machine gives them: a loaded machine proves nothing of it.
func TestFloodOfFirstContact(t *testing.T) {
	const known, first = 2 * time.Second, 5 * time.Second
	long := os.Getenv("MESH_TEST_LONG") != ""
	rate, frames := 20_000, 10_000
	if long {
		rate, frames = 100_000, 50_000 // of which 5 make a call
	}
	f := &field{cluster: newNetwork(t, "target", "far", "relay", "new", "newfar"), members: map[string]*member{}}
	authority, err := identity.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	f.authority = authority
	for _, p := range f.procs { // what has no address here is answered by way of a gateway, as from a pod
		f.ip("-n", p.ns, "route", "add", "default", "via", hubIP)
	}
	f.isolate("on", "target", "far", "newfar") // from each other
	by := func(names ...session.Peer) detours {
		d := detours{}
		for _, n := range names {
			d[n] = "relay"
		}
		return d
	}
	target := f.start("target", "target", by("far", "newfar-0", "newfar-1", "newfar-2", "newfar-3", "newfar-4", "newfar-5"))
	relay, far := f.start("relay", "relay", nil), f.start("far", "far", by("target"))
	f.meets(relay, target)
	f.meets(far, relay)
	f.meets(far, target)

	own := func(int) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(hubIP), 4000) }
	peers := func(int) netip.AddrPort { return relay.addr }
	many := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(i % 10000 >> 8), byte(i % 10000)}), 4000)
	}
	for i, c := range []struct {
		name        string
		source      func(int) netip.AddrPort
		certificate bool
	}{
		{"false sources, a certificate", many, true},
		{"a peer's source", peers, false},
		{"false sources", many, false},
		{"one source", own, false},
		{"one source, a certificate", own, true},
		{"a peer's source, a certificate", peers, true},
	} {
		if i >= 2 && !long {
			break
		}
		t.Run(c.name, func(t *testing.T) {
			f.t = t
			var observed []byte
			if c.certificate {
				f.renews(relay, target)
				observed = relay.calls.observed(target.addr)
			}
			a := attack{forgeries(frames, target, c.source, observed), rate}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			was, began := target.verdicts(t), time.Now()
			stop := f.flood(a, target)
			f.within(patience, "the flood uses up what there is for strangers", func() error {
				if got := target.verdicts(t)["rate_limited"] - was["rate_limited"]; got < uint64(rate/20) {
					return fmt.Errorf("%d frames were over the limit", got)
				}
				return nil
			})
			took := map[string]time.Duration{
				"known, called": f.renews(target, relay), "known, calls": f.renews(relay, target),
				"known, by relay, called": f.renews(target, far), "known, by relay, calls": f.renews(far, target),
			}
			for _, place := range []string{"new", "newfar"} {
				var routes detours
				if place == "newfar" {
					routes = by("target")
				}
				m := f.start(place, fmt.Sprint(place, "-", i), routes)
				if place == "newfar" {
					f.meets(m, relay)
				}
				begin := time.Now()
				m.Connect(target.name, target.addr) // the target knows nothing of it
				f.within(patience, "in", func() error {
					if _, ok := m.session(target); !ok {
						return fmt.Errorf("not in: %+v", m.Sessions())
					}
					return nil
				})
				took[place] = time.Since(begin)
				m.leave()
				target.Forget(m.name)
				relay.Forget(m.name)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			counts, lasted := target.verdicts(t), time.Since(began)
			sent, flooded := stop()
			for what, d := range took {
				limit := known
				if what == "new" || what == "newfar" {
					limit = first
				}
				if long && d > limit {
					t.Errorf("%s: %v, want at most %v", what, d, limit)
				}
			}
			cookies, err := target.verifier.Cookies()
			if err != nil {
				t.Fatal(err)
			}
			limited := counts["rate_limited"] - was["rate_limited"]
			// Each kind of first contact has its limit; sealed frames pass, too.
			most := 4*(verifier.DefaultContactBurst+verifier.DefaultContactRate*int(lasted/time.Second+1)) + 2000*int(lasted/time.Second+1)
			if passed := counts["pass"] - was["pass"]; passed > uint64(most) {
				t.Errorf("%d frames passed in %v, want at most %d", passed, lasted, most)
			}
			if limited < uint64(sent)/2 {
				t.Errorf("%d of %d frames of the flood were over the limit", limited, sent)
			}
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
			t.Logf("%d frames in %v (%.0f a second), %d over the limit, %d cookies so far; %v",
				sent, flooded.Round(time.Millisecond), float64(sent)/flooded.Seconds(), limited, cookies, took)
		})
	}
}
