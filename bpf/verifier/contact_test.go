package verifier

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// What the programs return for a packet that they send back.
const (
	xdpTX       = 3
	tcxRedirect = 7
)

var (
	secretNow    = frame.Key{0: 0x51, 9: 3}
	secretBefore = frame.Key{0: 0x52, 9: 4}
	callID       = [16]byte{0: 0xca, 5: 5, 6: 6, 13: 0x11, 15: 0x99}
)

// handshake is a handshake frame of a call, with a token.
func handshake(typ frame.Type, call, token [16]byte, fragment uint8, n int) []byte {
	b := lab.Frame(frame.Header{Type: typ, Fragment: fragment, Fragments: 5, Length: uint16(n)}, frame.Key{})
	copy(b[frame.HeaderLen:], call[:])
	copy(b[min(len(b), frame.HeaderLen+16):], token[:])
	return b
}

// exhaust takes what is left in the buckets of kinds of first contact, for good.
func (r *runner) exhaust(t testing.TB, kinds ...bpfContact) {
	t.Helper()
	for _, kind := range kinds {
		if err := r.obj.ContactBuckets.Put(uint32(kind), uint64(Now()+time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *runner) refill(t testing.TB) {
	t.Helper()
	for kind := range uint32(bpfContactCONTACT_KINDS) {
		if err := r.obj.ContactBuckets.Put(kind, uint64(0)); err != nil {
			t.Fatal(err)
		}
	}
}

// answer runs a packet that is over its limits and returns what is sent back, nil for
// nothing. A packet that passes fails the test.
func (r *runner) answer(t testing.TB, raw []byte) []byte {
	t.Helper()
	before, err := r.Cookies()
	if err != nil {
		t.Fatal(err)
	}
	opts := &ebpf.RunOptions{Data: raw, DataOut: make([]byte, len(raw)+256)}
	ret, err := r.prog.Run(opts)
	if err != nil {
		t.Fatalf("run %d bytes: %v", len(raw), err)
	}
	after, err := r.Cookies()
	if err != nil {
		t.Fatal(err)
	}
	back := ret == xdpTX
	if r.prog.Type() != ebpf.XDP {
		back = ret == tcxRedirect
	}
	switch {
	case ret == r.deliver:
		t.Fatal("it passed")
	case back != (after == before+1):
		t.Fatalf("returned %d, and %d cookies were counted", ret, after-before)
	case !back:
		return nil
	}
	return opts.DataOut
}

// mustSecrets sets the secrets of cookies.
func (r *runner) mustSecrets(t testing.TB, current, previous frame.Key) {
	t.Helper()
	if err := r.PutSecrets(current, previous); err != nil {
		t.Fatal(err)
	}
}

// Answers to calls are let pass by the calls, whatever a flood uses up; without one
// they are not.
func TestAnswersToCalls(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.exhaust(t, 0)
		other := callID
		other[15]++
		frames := func(token [16]byte) (all [][]byte) {
			for _, typ := range []frame.Type{frame.HandshakeReply, frame.HandshakeFinish, frame.HandshakeCookie} {
				all = append(all, lab.Packet{}.With(handshake(typ, [16]byte{1}, token, 0, 100)))
			}
			return all
		}
		refused := func(token [16]byte) {
			t.Helper()
			for _, raw := range frames(token) {
				r.expect(t, raw, "rate_limited")
			}
		}
		refused(callID)
		if err := r.PutCall(callID, lab.SourceIPv4.Addr()); err != nil {
			t.Fatal(err)
		}
		for _, raw := range frames(callID) {
			r.expect(t, raw, "pass")
		}
		refused(other)
		refused([16]byte{})
		// Who has been sent one cannot show it in another's name.
		for _, from := range []netip.AddrPort{
			netip.AddrPortFrom(lab.SourceIPv4.Addr().Next(), lab.SourceIPv4.Port()), netip.MustParseAddrPort("11.244.1.7:26970"),
		} {
			r.expect(t, lab.Packet{Source: from, Payload: handshake(frame.HandshakeReply, [16]byte{1}, callID, 0, 100)}.Bytes(), "rate_limited")
		}
		// The same bytes at the end of another family's address.
		from := lab.SourceIPv4.Addr().As4()
		six := netip.AddrFrom16([16]byte{0: 0xfd, 12: from[0], 13: from[1], 14: from[2], 15: from[3]})
		r.expect(t, lab.Packet{IPv6: true, Source: netip.AddrPortFrom(six, 26970), Payload: handshake(frame.HandshakeReply, [16]byte{1}, callID, 0, 100)}.Bytes(), "rate_limited")
		r.answer(t, lab.Packet{}.With(handshake(frame.HandshakeInit, [16]byte{1}, callID, 0, 100))) // no cookie
		for range 2 {
			if err := r.DeleteCall(callID); err != nil {
				t.Fatal(err)
			}
		}
		refused(callID)
	})
}

// Behind the buckets of single sources there is one for all of a kind. What comes from
// where a peer is known to be, and what is proven to come from its source, are kinds of
// their own; and what is sent in the name of an address takes nothing of what its owner
// proves to send.
func TestContactKinds(t *testing.T) {
	const each, all = 4, 10
	// One per second: next to no token comes back during the test.
	cfg := Config{HandshakeRate: 1, HandshakeBurst: each, ContactRate: 1, ContactBurst: all}
	both(t, cfg, func(t *testing.T, r *runner) {
		r.mustSecrets(t, secretNow, secretBefore)
		source := func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 4000)
		}
		call := func(from netip.AddrPort, proven bool) bool {
			t.Helper()
			token := [16]byte{}
			if proven {
				token = frame.Cookie(secretNow, from, callID)
			}
			verdict, _ := r.run(t, lab.Packet{Source: from, Payload: handshake(frame.HandshakeInit, callID, token, 1, 100)}.Bytes())
			return verdict == "pass"
		}
		begin := time.Now()
		few := func(what string, passed, limit int) {
			t.Helper()
			if most := limit + 1 + int(time.Since(begin)/time.Second); passed < limit || passed > most {
				t.Errorf("%s: %d passed, want %d to %d", what, passed, limit, most)
			}
		}
		count := func(from []netip.AddrPort, proven bool) (passed int) {
			for _, a := range from {
				if call(a, proven) {
					passed++
				}
			}
			return passed
		}
		var many, one []netip.AddrPort
		for i := range 100 {
			many, one = append(many, source(i)), append(one, source(1000))
		}
		few("one source", count(one, false), each)
		r.refill(t)
		few("many sources", count(many, false), all)

		// The flood goes on; a peer is let in by the reserve, and who floods in its name
		// gets no further than the peer would.
		peer := source(2000)
		if call(peer, false) {
			t.Error("nobody's first frame passed in the flood")
		}
		if err := r.PutPeer(peer.Addr()); err != nil {
			t.Fatal(err)
		}
		few("in a peer's name", count([]netip.AddrPort{peer, peer, peer, peer, peer, peer, peer, peer, peer}, false), each-1) // one token is gone
		for i := range all {
			if err := r.PutPeer(source(3000 + i).Addr()); err != nil {
				t.Fatal(err)
			}
		}
		named := 0
		for i := range all {
			named += count([]netip.AddrPort{source(3000 + i), source(3000 + i)}, false)
		}
		few("in all peers' names", named, all-each+1)

		// Whoever shows a cookie is in no false source's way, and in no other kind's.
		few("the peer itself", count([]netip.AddrPort{peer, peer, peer, peer, peer, peer}, true), each)
		few("a stranger", count(one, true), each)
		few("many strangers", count(many, true), all-each)
		few("another peer", count([]netip.AddrPort{source(3000), source(3000)}, true), 2)
		if err := r.DeletePeer(source(3001).Addr()); err != nil {
			t.Fatal(err)
		}
		if call(source(3001), true) {
			t.Error("a peer that is forgotten still has the reserve")
		}
	})
}

// However many sources and calls there are, the tables hold what they have room for.
func TestContactTablesAreBounded(t *testing.T) {
	v := loaded(t, Config{})
	for name, m := range map[string]*ebpf.Map{
		"handshake_buckets": v.obj.HandshakeBuckets, "proven_buckets": v.obj.ProvenBuckets, "calls": v.obj.Calls, "acquaintances": v.obj.Acquaintances,
	} {
		info, err := m.Info()
		if err != nil {
			t.Fatal(err)
		}
		if bytes := info.MaxEntries * (info.KeySize + info.ValueSize + 64); bytes > 2<<20 {
			t.Errorf("%s: %d entries of %d bytes", name, info.MaxEntries, info.KeySize+info.ValueSize)
		}
	}
	var err error
	for i := range uint32(1 << 16) {
		if err = v.PutCall([16]byte{byte(i), byte(i >> 8), byte(i >> 16)}, lab.SourceIPv6.Addr()); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("the table of calls takes any number")
	}
}

// BenchmarkContact is a frame of a flood: from a false source, without a cookie and with
// a false one, when there is nothing left for strangers.
func BenchmarkContact(b *testing.B) {
	for name, c := range map[string]struct {
		token    [16]byte
		fragment uint8
	}{
		"no_cookie": {fragment: 1}, "false_cookie": {[16]byte{1}, 1},
	} {
		b.Run(name, func(b *testing.B) {
			v := loaded(b, Config{})
			r := newRunner(b, v, "xdp")
			r.exhaust(b, 0)
			raw, drop := lab.Packet{Payload: handshake(frame.HandshakeInit, callID, c.token, c.fragment, 1000)}.Bytes(), trivial(b, 1)
			compare(b,
				func() time.Duration { return timed(b, drop, raw) },
				func() time.Duration { return timed(b, r.prog, raw) })
		})
	}
}
