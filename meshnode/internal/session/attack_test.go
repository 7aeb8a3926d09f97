package session

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// datagram is one that a tap saw.
type datagram struct {
	from, to netip.AddrPort
	b        []byte
}

// tap records everything on the wire.
func (w *mesh) tap() *[]datagram {
	seen := new([]datagram)
	w.net.SetFilter(func(from, to netip.AddrPort, b []byte) []byte {
		*seen = append(*seen, datagram{from, to, bytes.Clone(b)})
		return b
	})
	return seen
}

func TestForeignRootIsRefused(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a := w.start("a", netip.AddrPort{})
		foreign, err := identity.NewAuthority()
		if err != nil {
			t.Fatal(err)
		}
		id, err := foreign.NewNode("b", "zone-a", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		b := w.startAs(id, netip.AddrPort{})
		w.connectAll()
		w.pass(20 * time.Second)
		if a.verifies(b) || b.verifies(a) || len(a.table.entries)+len(b.table.entries) != 0 {
			t.Error("nodes of different roots have a session")
		}
		// While a's own call is under way it does not look at b's.
		if a.count(UnknownPeer)+b.count(UnknownPeer) == 0 {
			t.Error("nobody reported an unknown peer")
		}
		if a.count(VerificationFailed) != 0 {
			t.Error("an outsider's handshake counts as a failed attestation")
		}
	})
}

func TestCertificateTimesInHandshakes(t *testing.T) {
	// The peer is the called and, with a lesser name, the caller.
	for _, peer := range []string{"b", "0"} {
		certificateTimes(t, peer)
	}
}

func certificateTimes(t *testing.T, peer string) {
	for _, test := range []struct {
		name     string
		from, to time.Duration // validity, from now
		want     bool
	}{
		{"valid", 0, time.Hour, true},
		{"peer's clock an hour ahead", 59 * time.Minute, 2 * time.Hour, true},
		{"peer's clock an hour behind", -2 * time.Hour, -59 * time.Minute, true},
		{"expired", -3 * time.Hour, -61 * time.Minute, false},
		{"not yet valid", 61 * time.Minute, 3 * time.Hour, false},
	} {
		t.Run(peer+" "+test.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newMesh(t)
				defer w.stopAll()
				age := max(-test.from, 0) // of the certificate when the other node starts
				key, now := identity.GenerateKey(), time.Now().Add(age)
				cert, err := w.authority.Issue(peer, "", key.Public(), now.Add(test.from), now.Add(test.to))
				if err != nil {
					t.Fatal(err)
				}
				id := identity.NewNode(&identity.Credential{Key: key, Certificate: cert}, w.authority.Trust())
				time.Sleep(age)
				a, b := w.start("a", netip.AddrPort{}), w.startAs(id, netip.AddrPort{})
				w.connectAll()
				w.pass(5 * time.Second)
				if got := a.verifies(b); got != test.want {
					t.Errorf("verified: %v, want %v", got, test.want)
				}
				if !test.want && a.count(UnknownPeer) == 0 {
					t.Error("not reported")
				}
			})
		})
	}
}

func TestReplayedFrames(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		seen := w.tap()
		a, b := w.pair()
		if err := a.Send("b", frame.Data, []byte("once")); err != nil {
			t.Fatal(err)
		}
		w.pass(3 * time.Second)
		id := b.info(a).ID
		recorded := slices.Clone(*seen)
		evil := netip.MustParseAddrPort("10.9.9.9:1234")
		for _, d := range recorded {
			w.net.Inject(d.from, d.to, d.b)
			w.net.Inject(evil, d.to, d.b)
		}
		w.pass(time.Second)
		if got := b.received("a once"); got != 1 {
			t.Errorf("delivered %d times", got)
		}
		if b.count(Replayed) == 0 {
			t.Error("replays were not reported")
		}
		b.forget()
		signatures := 0
		for _, d := range recorded {
			if d.to == b.addr && frame.Type(d.b[3]) == frame.AttestationSignature {
				w.net.Inject(d.from, d.to, d.b)
				signatures++
			}
		}
		synctest.Wait()
		if got := b.count(Replayed); got != signatures || got == 0 {
			t.Errorf("%d of %d replayed signature frames were reported", got, signatures)
		}
		if b.info(a).Addr != a.addr || a.info(b).Addr != b.addr {
			t.Error("a replay from elsewhere moved a peer")
		}
		w.pass(10 * time.Second)
		if b.info(a).ID != id || b.count(Established) != 0 || len(b.table.entries) != 1 {
			t.Error("replayed handshakes made a session")
		}
		if !a.verifies(b) || !b.verifies(a) || b.count(VerificationFailed) != 0 {
			t.Error("replays hurt the session")
		}
	})
}

// Replaying a whole handshake against a node that has forgotten everything does
// not make a session either: its nonce and KEM values are others.
func TestReplayAfterRestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		seen := w.tap()
		a, b := w.pair()
		w.pass(time.Second)
		recorded := slices.Clone(*seen)
		w.net.SetFilter(nil)
		a.stop()
		b.stop()
		b = w.startAs(b.identity, b.addr)
		for _, d := range recorded {
			if d.to == b.addr {
				w.net.Inject(d.from, d.to, d.b)
			}
		}
		w.pass(10 * time.Second)
		if len(b.table.entries) != 0 || b.count(Established) != 0 {
			t.Error("a recorded handshake was accepted by a restarted node")
		}
	})
}

func TestCorruptedAttestations(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		w.pass(3 * time.Second)
		a.forget()
		random := rand.New(rand.NewPCG(1, 2))
		corrupt := func(from, _ netip.AddrPort, p []byte) []byte {
			if from == b.addr && frame.Type(p[3]) == frame.AttestationSignature {
				p[frame.HeaderLen+random.IntN(len(p)-frame.HeaderLen)] ^= 1 << random.IntN(8)
			}
			return p
		}
		w.net.SetFilter(corrupt)
		w.within(8*time.Second, "verification lapses", func() bool { return !a.verifies(b) })
		failed := a.count(VerificationFailed)
		if failed < 3 || failed > 9 {
			t.Errorf("%d failures in some 6 s at one challenge per second", failed)
		}
		if got := a.metrics.get("verification false critical") + a.metrics.get("verification false low"); got != failed {
			t.Errorf("%d failures reported, %d counted", failed, got)
		}
		if !b.verifies(a) || b.count(VerificationFailed) != 0 {
			t.Error("the innocent direction suffers")
		}
		w.net.SetFilter(nil)
		w.within(3*time.Second, "verified again", func() bool { return a.verifies(b) })
	})
}

// Somebody who knows the session id and can send from the peer's address, but
// does not know the header key, changes nothing.
func TestForgedFramesWithoutTheHeaderKey(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		a.forget()
		for i := range 500 {
			for _, kind := range []frame.Type{frame.AttestationSignature, frame.Data, frame.Challenge, frame.Heartbeat} {
				p := make([]byte, frame.HeaderLen+100)
				h := frame.Header{Type: kind, Length: 100, Fragments: 1, Session: a.info(b).ID, Sequence: uint64(100000 + i)}
				h.Put(p, frame.Key{byte(i)})
				w.net.Inject(b.addr, a.addr, p)
			}
		}
		w.pass(5 * time.Second)
		if a.count(VerificationFailed)+a.count(Replayed) != 0 || !a.verifies(b) {
			t.Errorf("forgeries had an effect: %v", a.events)
		}
		if err := b.Send("a", frame.Data, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		w.within(time.Second, "the real peer gets through", func() bool { return a.received("b hello") == 1 })
	})
}

// A peer that answers what was never asked is reported.
func TestUnsolicitedAttestation(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		a.forget()
		s := b.peers["a"].current
		answer := append(bytes.Repeat([]byte{0x7f}, 8), make([]byte, identity.SignatureSize)...)
		for _, forged := range [][]byte{answer, []byte("short")} {
			if err := b.sendSignature(s, path{addr: a.addr}, forged); err != nil {
				t.Fatal(err)
			}
		}
		w.pass(time.Second)
		if got := a.count(VerificationFailed); got != 2 {
			t.Errorf("%d failures reported, want 2", got)
		}
	})
}

// A flood of calls from forged addresses is answered with cookies, memory stays
// bounded, and a real peer still gets in.
func TestHandshakeFlood(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.start("a", netip.AddrPort{}), w.start("b", netip.AddrPort{})
		c := w.start("c", netip.AddrPort{})
		var init, cookies int
		w.net.SetFilter(func(from, to netip.AddrPort, p []byte) []byte {
			switch frame.Type(p[3]) {
			case frame.HandshakeInit:
				init += len(p)
			case frame.HandshakeCookie:
				cookies += len(p)
			}
			return p
		})
		flood := func(i int) {
			msg := initMessage{kem: make([]byte, 1216), responder: "a", certificate: c.identity.Credential().Certificate}
			copy(msg.nonce[:], fmt.Sprint("flood", i))
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 1)
			for _, f := range handshakeFrames(frame.HandshakeInit, msg.encode(), messageID{}) {
				w.net.Inject(from, a.addr, f)
			}
		}
		for i := range 3000 {
			flood(i)
			if i == 1000 {
				b.Connect("a", a.addr)
				b.Reverify("a")
			}
			if i%10 == 0 {
				w.pass(time.Millisecond)
				a.Manager.mu.RLock()
				half, partial, peers := len(a.halfOpen), a.handshakes.Len(), len(a.peers)
				a.Manager.mu.RUnlock()
				if half > a.cfg.Limits.HalfOpen || partial > handshakeMessages || peers > 1 {
					t.Fatalf("the flood takes memory: %d half open, %d incomplete, %d peers", half, partial, peers)
				}
			}
		}
		w.within(3*time.Second, "the real peer got in", func() bool { return a.verifies(b) })
		if cookies == 0 || cookies*10 > init {
			t.Errorf("%d bytes of cookies for %d bytes of calls", cookies, init)
		}
		a.Manager.mu.RLock()
		half := len(a.halfOpen)
		a.Manager.mu.RUnlock()
		if half > a.cfg.Limits.CookieAfter+1 {
			t.Errorf("%d calls without a cookie were taken up, want at most %d", half, a.cfg.Limits.CookieAfter)
		}
	})
}

// A message whose hash is not its id, as after a change of one fragment under
// way, is not even looked at.
func TestMessageIDIsItsHash(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, c := w.start("a", netip.AddrPort{}), w.start("c", netip.AddrPort{})
		msg := initMessage{kem: make([]byte, 1216), responder: "a", certificate: c.identity.Credential().Certificate}
		for _, change := range []byte{1, 0} {
			for _, f := range handshakeFrames(frame.HandshakeInit, msg.encode(), messageID{}) {
				f[frame.HeaderLen] ^= change
				w.net.Inject(c.addr, a.addr, f)
			}
			synctest.Wait()
			a.Manager.mu.RLock()
			if got := len(a.halfOpen); got != 1-int(change) {
				t.Errorf("id changed by %d: %d calls taken up", change, got)
			}
			a.Manager.mu.RUnlock()
		}
	})
}

// Userspace holds data back as well while the sender is not verified; what keeps
// the session going still passes.
func TestDataNeedsAVerifiedSender(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		w.net.SetFilter(func(from, _ netip.AddrPort, p []byte) []byte {
			if from == b.addr && frame.Type(p[3]) == frame.AttestationSignature {
				return nil
			}
			return p
		})
		w.within(8*time.Second, "verification lapses", func() bool { return !a.verifies(b) })
		for kind, payload := range map[frame.Type]string{frame.Data: "data", frame.Heartbeat: "heartbeat"} {
			if err := b.Send("a", kind, []byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if a.received("b data") != 0 || a.received("b heartbeat") != 1 {
			t.Errorf("received %v", a.messages)
		}
	})
}

// Callers that do own their addresses cannot hold more than their share either.
func TestHalfOpenIsBounded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a := w.start("a", netip.AddrPort{}, func(c *Config) { c.Limits.HalfOpen, c.Limits.CookieAfter = 4, 1000 })
		c := w.start("c", netip.AddrPort{})
		for i := range 20 {
			msg := initMessage{kem: make([]byte, 1216), responder: "a", certificate: c.identity.Credential().Certificate}
			msg.nonce[0] = byte(i)
			for _, f := range handshakeFrames(frame.HandshakeInit, msg.encode(), messageID{}) {
				w.net.Inject(c.addr, a.addr, f)
			}
			synctest.Wait()
		}
		a.Manager.mu.RLock()
		if got := len(a.halfOpen); got != 4 {
			t.Errorf("%d half-open handshakes, want 4", got)
		}
		a.Manager.mu.RUnlock()
	})
}

func TestChangeOnThePath(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		random := rand.New(rand.NewPCG(3, 4))
		w.net.SetFilter(func(_, _ netip.AddrPort, p []byte) []byte {
			if random.IntN(4) == 0 {
				p[random.IntN(len(p))] ^= 1 << random.IntN(8)
			}
			return p
		})
		a, b := w.start("a", netip.AddrPort{}), w.start("b", netip.AddrPort{})
		w.connectAll()
		w.pass(30 * time.Second)
		w.net.SetFilter(nil)
		a.Reverify("b")
		w.within(20*time.Second, "verified once the path is clean", func() bool { return a.verifies(b) && b.verifies(a) })
		if err := a.Send("b", frame.Data, []byte("x")); err != nil && !errors.Is(err, ErrNoSession) {
			t.Fatal(err)
		}
	})
}

func FuzzReceive(f *testing.F) {
	h := newHandshake(f)
	half, err := h.b.makeReply(h.o.init, 0)
	if err != nil {
		f.Fatal(err)
	}
	seeds := [][]byte{handshakeFrames(frame.HandshakeInit, h.o.init, messageID{})[0], half.reply[0]}
	s := half.session
	s.peer = &peer{name: "a"}
	if err := h.b.install(h.b.cfg.Now(), s); err != nil {
		f.Fatal(err)
	}
	for _, kind := range []frame.Type{frame.Data, frame.Challenge, frame.AttestationSignature, frame.AttestationSealed} {
		for _, size := range []uint16{64, 400} {
			b := make([]byte, frame.HeaderLen+int(size))
			hd := frame.Header{Type: kind, Length: size, Fragments: 1, Session: s.id, Sequence: 1}
			hd.Put(b, s.openHeader)
			seeds = append(seeds, b)
		}
	}
	for _, b := range hostile.Corpus(seeds...) {
		f.Add(b)
	}
	plain := make([]byte, transport.MaxDatagram)
	from := netip.MustParseAddrPort("10.9.9.9:1")
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > transport.MaxDatagram {
			return
		}
		h.b.frame(b, plain, from)
		if len(h.b.sessions) != 1 || h.b.handshakes.Len() > handshakeMessages || len(h.b.halfOpen) > h.b.cfg.Limits.HalfOpen {
			t.Fatal("noise changed the sessions or broke a bound")
		}
	})
}

// FuzzOpened is what a hostile member seals: what the manager makes of it without anybody's help,
// a panic included.
func FuzzOpened(f *testing.F) {
	h := newHandshake(f)
	half, err := h.b.makeReply(h.o.init, 0)
	if err != nil {
		f.Fatal(err)
	}
	s := half.session
	s.peer = &peer{name: "a"}
	h.b.cfg.Relays = newRoutes()
	r := relayed{hops: 3, origin: "a", destination: "b", datagram: make([]byte, frame.HeaderLen)}
	for typ, payload := range map[frame.Type][]byte{
		frame.Challenge:         make([]byte, challengeSize),
		frame.PathProbe:         make([]byte, 400),
		frame.PathEcho:          {5, 0},
		frame.AttestationProof:  make([]byte, 8+identity.SignatureSize),
		frame.AttestationSealed: make([]byte, 8+identity.SignatureSize),
		frame.Relay:             r.append(nil),
	} {
		for _, b := range hostile.Corpus(payload) {
			f.Add(byte(typ), b)
		}
	}
	f.Fuzz(func(t *testing.T, typ byte, b []byte) {
		if frame.Type(typ) == frame.Relay {
			h.b.takeRelayed("a", b)
		} else {
			h.b.own(s, frame.Type(typ), b)
		}
		if len(s.challenges) > 0 || len(h.b.sessions) > 0 || len(h.b.halfOpen) > h.b.cfg.Limits.HalfOpen {
			t.Fatal("a message changed the sessions or broke a bound")
		}
	})
}
