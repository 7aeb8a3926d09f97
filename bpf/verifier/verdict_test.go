package verifier

import (
	"maps"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// carriers are the ways in which a mesh datagram may legally come.
var carriers = map[string]lab.Packet{
	"ipv4":              {},
	"ipv4 options":      {Options: 40},
	"ipv4 padding":      {Padding: 6},
	"ipv4 vlan":         {VLANs: []uint16{0x8100}},
	"ipv4 qinq":         {VLANs: []uint16{0x88a8, 0x8100}},
	"ipv4 no fragment":  {Fragment: 0x4000},
	"ipv6":              {IPv6: true},
	"ipv6 vlan":         {IPv6: true, VLANs: []uint16{0x8100}},
	"ipv6 extensions":   {IPv6: true, Extensions: [][]byte{lab.Extension(lab.HopByHop, 0), lab.Extension(lab.DestinationOptions, 3), lab.Extension(lab.Routing, 1)}},
	"ipv6 8 extensions": {IPv6: true, Extensions: lab.Repeat(lab.Extension(lab.DestinationOptions, 0), 8)},
}

func TestCarriers(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.put(t, testID, testKey)
		sequence := uint64(0)
		for name, carrier := range carriers {
			t.Run(name, func(t *testing.T) {
				for _, n := range []int{0, 1, 100, frame.MaxPayload} {
					sequence++
					valid := lab.Sealed(frame.Data, testID, testKey, sequence, n)
					r.expect(t, carrier.With(valid), "pass")
					r.expect(t, carrier.With(valid), "replay")
				}
				unknown := lab.Sealed(frame.Data, frame.SessionID{9}, testKey, 1, 20)
				r.expect(t, carrier.With(unknown), "no_session")
			})
		}
	})
}

func TestNotMesh(t *testing.T) {
	valid := lab.Sealed(frame.Data, testID, testKey, 1, 20)
	short := lab.Packet{Payload: valid, Cut: len(valid) + 4}.Bytes() // half a UDP header
	lldp := lab.Packet{Payload: valid}.Bytes()
	lldp[12], lldp[13] = 0x88, 0xcc
	badVersion4, badVersion6 := lab.Packet{Payload: valid}.Bytes(), lab.Packet{Payload: valid, IPv6: true}.Bytes()
	badVersion4[14], badVersion6[14] = 0x65, 0x45
	badIHL := lab.Packet{Payload: valid}.Bytes()
	badIHL[14] = 0x44
	farOptions := lab.Packet{Payload: valid, Options: 8, Cut: len(valid) + 12}.Bytes() // IHL points past the end

	both(t, Config{}, func(t *testing.T, r *runner) {
		r.put(t, testID, testKey)
		for name, raw := range map[string][]byte{
			"other port":             lab.Packet{Payload: valid, Port: 53}.Bytes(),
			"other port ipv6":        lab.Packet{Payload: valid, Port: 53, IPv6: true}.Bytes(),
			"other port, fragment":   lab.Packet{Payload: valid, Port: 53, Fragment: 0x2000}.Bytes(),
			"from the mesh port":     lab.Packet{Payload: valid, Port: 40000, Source: lab.SourceIPv4}.Bytes(),
			"tcp":                    lab.Packet{Payload: valid, Proto: 6}.Bytes(),
			"tcp ipv6":               lab.Packet{Payload: valid, Proto: 6, IPv6: true}.Bytes(),
			"esp after extension":    lab.Packet{Payload: valid, Proto: 50, IPv6: true, Extensions: [][]byte{lab.Extension(lab.HopByHop, 0)}}.Bytes(),
			"no ip":                  lldp,
			"ipv4 version":           badVersion4,
			"ipv6 version":           badVersion6,
			"ipv4 header length":     badIHL,
			"half a udp header":      short,
			"options past the end":   farOptions,
			"ethernet only":          lab.Packet{Payload: valid}.Bytes()[:14],
			"cut vlan tag":           append(lab.Packet{}.Bytes()[:12], 0x81, 0x00, 0, 0),
			"cut ipv4 header":        lab.Packet{Payload: valid}.Bytes()[:33],
			"cut ipv6 header":        lab.Packet{Payload: valid, IPv6: true}.Bytes()[:53],
			"cut extension":          lab.Packet{Payload: valid, IPv6: true, Extensions: lab.Repeat(lab.Extension(lab.Routing, 1), 1)}.Bytes()[:60],
			"later fragment":         lab.Packet{Payload: valid, Fragment: 0x2001}.Bytes(),
			"last fragment":          lab.Packet{Payload: valid, Fragment: 0x0010}.Bytes(),
			"later fragment of ipv6": lab.Packet{Payload: valid, IPv6: true, Extensions: [][]byte{lab.FragmentHeader(8 | 1)}}.Bytes(),
		} {
			if r.refuses(raw) {
				continue
			}
			t.Run(name, func(t *testing.T) { r.expect(t, raw, "not_mesh") })
		}
	})
}

func TestMalformed(t *testing.T) {
	valid := lab.Sealed(frame.Data, testID, testKey, 1, 20)
	edited := func(edit func(b []byte)) []byte {
		b := lab.Sealed(frame.Data, testID, testKey, 1, 20)
		edit(b)
		return lab.Packet{Payload: b}.Bytes()
	}
	of := func(h frame.Header) []byte {
		h.Session = testID
		return lab.Packet{Payload: lab.Frame(h, testKey)}.Bytes()
	}
	handshake := func(edit func(b []byte)) []byte {
		b := make([]byte, frame.HeaderLen)
		(&frame.Header{Type: frame.HandshakeInit, Fragments: 1}).Put(b, testKey)
		edit(b)
		return lab.Packet{Payload: b}.Bytes()
	}
	both(t, Config{}, func(t *testing.T, r *runner) {
		for rule, packets := range map[string]map[string][]byte{
			"fragment": {
				"first fragment":             lab.Packet{Payload: valid, Fragment: 0x2000}.Bytes(),
				"first fragment, no port":    lab.Packet{Payload: valid, Fragment: 0x2000, Cut: len(valid) + 4}.Bytes(),
				"first fragment of ipv6":     lab.Packet{Payload: valid, IPv6: true, Extensions: [][]byte{lab.FragmentHeader(1)}}.Bytes(),
				"atomic fragment of ipv6":    lab.Packet{Payload: valid, IPv6: true, Extensions: [][]byte{lab.FragmentHeader(0)}}.Bytes(),
				"ipv6 fragment hides header": lab.Packet{IPv6: true, Extensions: [][]byte{lab.FragmentHeader(1), lab.Extension(lab.DestinationOptions, 0)}, Cut: 16}.Bytes(),
			},
			"length": {
				"ip longer than packet": lab.Packet{Payload: valid, IPLength: 1}.Bytes(),
				"ip shorter than udp":   lab.Packet{Payload: valid, IPLength: -1}.Bytes(),
				"ipv6 length zero":      lab.Packet{Payload: valid, IPv6: true, IPLength: -len(valid) - 8}.Bytes(),
				"udp longer than ip":    lab.Packet{Payload: valid, UDPLength: 1}.Bytes(),
				"udp shorter than ip":   lab.Packet{Payload: valid, UDPLength: -1}.Bytes(),
				"udp length 7":          lab.Packet{UDPLength: -1}.Bytes(),
				"udp length zero":       lab.Packet{Payload: valid, UDPLength: -len(valid) - 8}.Bytes(),
				"truncated packet":      lab.Packet{Payload: valid, Cut: 1}.Bytes(),
				"no payload":            lab.Packet{}.Bytes(),
				"short header":          lab.Packet{Payload: valid[:frame.HeaderLen-1]}.Bytes(),
				"payload too long":      of(frame.Header{Type: frame.Data, Fragments: 1, Sequence: 1, Length: frame.MaxPayload + 1}),
				"length above":          lab.Packet{Payload: valid[:len(valid)-1]}.Bytes(),
				"length below":          lab.Packet{Payload: append(valid[:len(valid):len(valid)], 0)}.Bytes(),
			},
			"header": {
				"magic":                   edited(func(b []byte) { b[0] ^= 1 }),
				"version 0":               edited(func(b []byte) { b[2] = 0 }),
				"version 2":               edited(func(b []byte) { b[2] = 2 }),
				"class 0":                 of(frame.Header{Type: 0x01, Fragments: 1, Sequence: 1}),
				"class 0x50":              of(frame.Header{Type: 0x50, Fragments: 1, Sequence: 1}),
				"class 0xf0":              of(frame.Header{Type: 0xf1, Fragments: 1, Sequence: 1}),
				"no fragments":            of(frame.Header{Type: frame.Data, Sequence: 1}),
				"fragment = fragments":    of(frame.Header{Type: frame.Data, Sequence: 1, Fragment: 2, Fragments: 2}),
				"too many fragments":      of(frame.Header{Type: frame.Data, Sequence: 1, Fragments: frame.MaxFragments + 1}),
				"sequence 0":              of(frame.Header{Type: frame.Data, Fragments: 1}),
				"sequence out of range":   of(frame.Header{Type: frame.Data, Fragments: 1, Sequence: MaxSequence + 1}),
				"sequence 2^64-1":         of(frame.Header{Type: frame.Data, Fragments: 1, Sequence: 1<<64 - 1}),
				"handshake with session":  handshake(func(b []byte) { b[23] = 1 }),
				"handshake with sequence": handshake(func(b []byte) { b[31] = 1 }),
				"handshake with tag":      handshake(func(b []byte) { b[39] = 1 }),
			},
			"hidden": {
				"three vlan tags": lab.Packet{Payload: valid, VLANs: []uint16{0x8100, 0x8100, 0x8100}}.Bytes(),
				"nine extensions": lab.Packet{Payload: valid, IPv6: true, Extensions: lab.Repeat(lab.Extension(lab.DestinationOptions, 0), 9)}.Bytes(),
			},
		} {
			for name, raw := range packets {
				t.Run(name, func(t *testing.T) {
					r.put(t, testID, testKey)
					defer r.remove(t, testID)
					before := r.malformed(t)
					r.expect(t, raw, "malformed")
					r.expect(t, lab.Packet{Payload: valid}.Bytes(), "pass") // nothing was consumed
					before[rule]++
					if after := r.malformed(t); !maps.Equal(before, after) {
						t.Errorf("counted as %v, want %s once more: %v", after, rule, before)
					}
				})
			}
		}
	})
}

func TestSessionVerdicts(t *testing.T) {
	classes := map[string]frame.Type{"signature": frame.AttestationSignature, "control": frame.Heartbeat, "data": frame.Data}
	now := Now()
	both(t, Config{}, func(t *testing.T, r *runner) {
		for name, c := range map[string]struct {
			session Session
			revoke  bool
			want    map[string]string // by class
		}{
			"verified": {
				session: Session{Expires: now + time.Hour, VerifiedUntil: now + time.Hour},
				want:    map[string]string{"signature": "pass", "control": "pass", "data": "pass"},
			},
			"never verified": {
				session: Session{Expires: now + time.Hour},
				want:    map[string]string{"signature": "pass", "control": "pass", "data": "expired"},
			},
			"no longer verified": {
				session: Session{Expires: now + time.Hour, VerifiedUntil: now - time.Second},
				want:    map[string]string{"signature": "pass", "control": "pass", "data": "expired"},
			},
			"expired": {
				session: Session{Expires: now - time.Second, VerifiedUntil: now + time.Hour},
				want:    map[string]string{"signature": "expired", "control": "expired", "data": "expired"},
			},
			"no expiry": {
				session: Session{VerifiedUntil: now + time.Hour},
				want:    map[string]string{"signature": "expired", "control": "expired", "data": "expired"},
			},
			"revoked": {
				session: Session{Expires: now + time.Hour, VerifiedUntil: now + time.Hour}, revoke: true,
				want: map[string]string{"signature": "revoked", "control": "revoked", "data": "revoked"},
			},
		} {
			t.Run(name, func(t *testing.T) {
				defer r.remove(t, testID)
				c.session.RxHeaderKey = testKey
				if err := r.Put(testID, c.session); err != nil {
					t.Fatal(err)
				}
				if c.revoke {
					if err := r.Revoke(testID); err != nil {
						t.Fatal(err)
					}
				}
				sequence := uint64(0)
				for class, want := range c.want {
					sequence++
					raw := lab.Packet{Payload: lab.Sealed(classes[class], testID, testKey, sequence, 30)}.Bytes()
					verdict, deliver := r.run(t, raw)
					if verdict != want {
						t.Errorf("%s: verdict %s, want %s", class, verdict, want)
					}
					if wantDeliver := want == "pass" && class != "signature"; deliver != wantDeliver {
						t.Errorf("%s: delivered %t, want %t", class, deliver, wantDeliver)
					}
				}
			})
		}
	})
}

// What the verdicts and reports say of a session's state counts against its peer, so
// nobody else's frame gets that far.
func TestOnlyThePeerIsToldOf(t *testing.T) {
	now := Now()
	both(t, Config{}, func(t *testing.T, r *runner) {
		for i, c := range []struct {
			session Session
			revoke  bool
			want    string
		}{
			{session: Session{Expires: now - time.Second}, want: "expired"},
			{session: Session{Expires: now + time.Hour}, want: "expired"}, // not verified
			{session: Session{Expires: now + time.Hour, VerifiedUntil: now + time.Hour}, revoke: true, want: "revoked"},
		} {
			c.session.RxHeaderKey = testKey
			id := frame.SessionID{0: 7, 1: byte(i)}
			if err := r.Put(id, c.session); err != nil {
				t.Fatal(err)
			}
			if c.revoke {
				if err := r.Revoke(id); err != nil {
					t.Fatal(err)
				}
			}
			r.expect(t, lab.Packet{Payload: lab.Sealed(frame.Data, id, frame.Key{1}, 1, 30)}.Bytes(), "bad_tag")
			r.expect(t, lab.Packet{Payload: lab.Sealed(frame.Data, id, testKey, 1, 30)}.Bytes(), c.want)
		}
	})
}

// Every bit of a header is covered: no flip passes.
func TestBitFlips(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.put(t, testID, testKey)
		verdicts := map[string]int{}
		for bit := range frame.HeaderLen * 8 {
			b := lab.Sealed(frame.Data, testID, testKey, 1000, 20)
			b[bit/8] ^= 1 << (bit % 8)
			verdict, deliver := r.run(t, lab.Packet{Payload: b}.Bytes())
			if verdict == "pass" || deliver {
				t.Errorf("bit %d of byte %d flipped: %s", bit%8, bit/8, verdict)
			}
			verdicts[verdict]++
		}
		for _, want := range []string{"malformed", "no_session", "bad_tag"} {
			if verdicts[want] == 0 {
				t.Errorf("no flip gave %s: %v", want, verdicts)
			}
		}
		r.expect(t, lab.Packet{Payload: lab.Sealed(frame.Data, testID, testKey, 1000, 20)}.Bytes(), "pass")
	})
}

func TestHandshakeLimit(t *testing.T) {
	const burst = 5
	// One per second: no token comes back during the test.
	both(t, Config{HandshakeRate: 1, HandshakeBurst: burst}, func(t *testing.T, r *runner) {
		handshake := lab.Frame(frame.Header{Type: frame.HandshakeInit, Fragments: 4, Length: 100}, frame.Key{})
		for _, carrier := range []lab.Packet{{}, {IPv6: true}, {Source: lab.SourceIPv6, IPv6: true, VLANs: []uint16{0x8100}}} {
			raw := carrier.With(handshake)
			for i := range 3 * burst {
				verdict, deliver := r.run(t, raw)
				want := "pass"
				if i >= burst || carrier.VLANs != nil { // the third carrier shares the second's source
					want = "rate_limited"
				}
				if verdict != want || deliver != (want == "pass") {
					t.Fatalf("handshake frame %d: %s, want %s", i+1, verdict, want)
				}
			}
		}
	})
}
