package verifier

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// internetSum is the sum of RFC 1071: 0xffff over what holds a right checksum.
func internetSum(parts ...[]byte) uint16 {
	all := bytes.Join(parts, nil)
	var sum uint32
	for ; len(all) > 1; all = all[2:] {
		sum += uint32(binary.BigEndian.Uint16(all))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// pseudoHeader is that of a UDP datagram between two addresses.
func pseudoHeader(a, b []byte, length int) []byte {
	return append(append(bytes.Clone(a), b...), 0, 17, byte(length>>8), byte(length))
}

// checkAnswer checks every byte of an answer to the packet raw, whose IP header has
// size bytes with the source address at src.
func checkAnswer(t *testing.T, raw, got []byte, size int, source netip.AddrPort, unfinished bool) {
	t.Helper()
	const eth, udpLen = 14, 8
	want := frame.HeaderLen + frame.HandshakePrefix + frame.CookieLen
	if len(got) != eth+size+udpLen+want {
		t.Fatalf("an answer of %d bytes, want %d", len(got), eth+size+udpLen+want)
	}
	if len(got) > len(raw) {
		t.Errorf("an answer of %d bytes to %d", len(got), len(raw))
	}
	if !bytes.Equal(got[:6], raw[6:12]) || !bytes.Equal(got[6:12], raw[:6]) || !bytes.Equal(got[12:14], raw[12:14]) {
		t.Errorf("Ethernet header %x, asked with %x", got[:14], raw[:14])
	}
	ip, asked := got[eth:eth+size], raw[eth:eth+size]
	n := 4
	if size == 40 {
		n = 16
	}
	src, dst := ip[size-2*n:size-n], ip[size-n:]
	if !bytes.Equal(src, asked[size-n:]) || !bytes.Equal(dst, asked[size-2*n:size-n]) {
		t.Errorf("from %x to %x, asked from %x to %x", src, dst, asked[size-2*n:size-n], asked[size-n:])
	}
	udp := got[eth+size:]
	if size == 20 {
		if ip[0] != 0x45 || ip[8] == 0 || ip[9] != 17 || int(binary.BigEndian.Uint16(ip[2:])) != len(got)-eth || internetSum(ip) != 0xffff {
			t.Errorf("IPv4 header %x", ip)
		}
	} else if ip[0] != 0x60 || ip[6] != 17 || ip[7] == 0 || int(binary.BigEndian.Uint16(ip[4:])) != len(udp) {
		t.Errorf("IPv6 header %x", ip)
	}
	if binary.BigEndian.Uint16(udp) != frame.Port || binary.BigEndian.Uint16(udp[2:]) != source.Port() || int(binary.BigEndian.Uint16(udp[4:])) != len(udp) {
		t.Errorf("UDP header %x", udp[:8])
	}
	pseudo := pseudoHeader(src, dst, len(udp))
	if unfinished {
		if sum := binary.BigEndian.Uint16(udp[6:]); sum != internetSum(pseudo) {
			t.Errorf("the device would finish %#x, want %#x", sum, internetSum(pseudo))
		}
	} else if internetSum(pseudo, udp) != 0xffff {
		t.Errorf("UDP checksum %x is wrong", udp[6:8])
	}
	h, payload, err := frame.Parse(udp[udpLen:])
	if err != nil || h.Type != frame.HandshakeCookie || h.Fragments != 1 || !bytes.Equal(udp[udpLen+8:udpLen+frame.HeaderLen], make([]byte, frame.HeaderLen-8)) {
		t.Fatalf("no cookie frame: %+v, %v", h, err)
	}
	cookie := frame.Cookie(secretNow, source, callID)
	if !bytes.Equal(payload[16:32], callID[:]) || !bytes.Equal(payload[32:], cookie[:]) {
		t.Errorf("token and cookie %x, want %x %x", payload[16:], callID, cookie)
	}
}

// An init that is over its limits is answered with a cookie, in a packet that is right
// in every byte, and passes with it. Nothing else passes or is answered.
func TestCookies(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.mustSecrets(t, secretNow, secretBefore)
		r.exhaust(t, 0, bpfContactCONTACT_KNOWN)
		none := [16]byte{}
		for name, c := range map[string]struct {
			carrier lab.Packet
			source  netip.AddrPort
			size    int
		}{
			"ipv4":             {lab.Packet{Checksum: true}, lab.SourceIPv4, 20},
			"ipv4 no checksum": {lab.Packet{}, lab.SourceIPv4, 20},
			"ipv6":             {lab.Packet{IPv6: true, Checksum: true}, lab.SourceIPv6, 40},
		} {
			t.Run(name, func(t *testing.T) {
				// The rest of a smaller frame than the answer is cut off, not grown.
				for _, n := range []int{frame.HandshakePrefix + frame.CookieLen, 200, frame.MaxPayload} {
					raw := c.carrier.With(handshake(frame.HandshakeInit, callID, none, 0, n))
					checkAnswer(t, raw, r.answer(t, raw), c.size, c.source, false)
				}
				for _, secret := range []frame.Key{secretNow, secretBefore} {
					cookie := frame.Cookie(secret, c.source, callID)
					for fragment := range uint8(5) {
						r.expect(t, c.carrier.With(handshake(frame.HandshakeInit, callID, cookie, fragment, 500)), "pass")
					}
				}
				// Cookies of another call, address, port or secret, and changed ones.
				other := callID
				other[13]++
				for what, cookie := range map[string][16]byte{
					"another call":    frame.Cookie(secretNow, c.source, other),
					"another port":    frame.Cookie(secretNow, netip.AddrPortFrom(c.source.Addr(), c.source.Port()+1), callID),
					"another address": frame.Cookie(secretNow, netip.AddrPortFrom(c.source.Addr().Next(), c.source.Port()), callID),
					"another secret":  frame.Cookie(frame.Key{1}, c.source, callID),
				} {
					if r.answer(t, c.carrier.With(handshake(frame.HandshakeInit, callID, cookie, 0, 500))) == nil {
						t.Errorf("a cookie of %s was not answered with a right one", what)
					}
				}
				for bit := range 128 {
					cookie := frame.Cookie(secretNow, c.source, callID)
					cookie[bit/8] ^= 1 << (bit % 8)
					r.answer(t, c.carrier.With(handshake(frame.HandshakeInit, callID, cookie, 0, 500)))
				}
			})
		}
		cookie := frame.Cookie(secretNow, lab.SourceIPv4, callID)
		for what, raw := range map[string][]byte{
			"a later fragment":     lab.Packet{}.With(handshake(frame.HandshakeInit, callID, none, 1, 500)),
			"a reply":              lab.Packet{}.With(handshake(frame.HandshakeReply, callID, none, 0, 500)),
			"a reply with cookie":  lab.Packet{}.With(handshake(frame.HandshakeReply, callID, cookie, 0, 500)),
			"a cookie":             lab.Packet{}.With(handshake(frame.HandshakeCookie, callID, callID, 0, 48)),
			"less than the answer": lab.Packet{}.With(handshake(frame.HandshakeInit, callID, none, 0, 47)),
			"no prefix":            lab.Packet{}.With(handshake(frame.HandshakeInit, callID, none, 0, 31)),
			"IPv4 options":         lab.Packet{Options: 8}.With(handshake(frame.HandshakeInit, callID, none, 0, 500)),
			"a VLAN":               lab.Packet{VLANs: []uint16{0x8100}}.With(handshake(frame.HandshakeInit, callID, none, 0, 500)),
			"an IPv6 extension":    lab.Packet{IPv6: true, Extensions: [][]byte{lab.Extension(lab.HopByHop, 0)}}.With(handshake(frame.HandshakeInit, callID, none, 0, 500)),
		} {
			if got := r.answer(t, raw); got != nil {
				t.Errorf("%s was answered", what)
			}
		}
		// To many, to somebody else whose frame came along, and from many.
		for what, change := range map[string]func(raw []byte){
			"to all":                func(raw []byte) { copy(raw, "\xff\xff\xff\xff\xff\xff") },
			"to many":               func(raw []byte) { copy(raw, "\x01\x00\x5e\x00\x00\x01") },
			"to somebody else":      func(raw []byte) { raw[5]++ },
			"to another vendor's":   func(raw []byte) { raw[0] += 2 },
			"from many on the wire": func(raw []byte) { raw[6] |= 1 },
		} {
			for _, carrier := range []lab.Packet{{}, {IPv6: true}} {
				raw := carrier.With(handshake(frame.HandshakeInit, callID, none, 0, 500))
				change(raw)
				if r.answer(t, raw) != nil {
					t.Errorf("what was sent %s was answered", what)
				}
			}
		}
		for _, from := range []string{"224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1", "ff0e::1:2"} {
			a := netip.MustParseAddr(from)
			raw := lab.Packet{IPv6: a.Is6(), Source: netip.AddrPortFrom(a, 26970)}.With(handshake(frame.HandshakeInit, callID, none, 0, 500))
			if r.answer(t, raw) != nil {
				t.Errorf("an answer went to %s", from)
			}
		}
		r.exhaust(t, bpfContactCONTACT_PROVEN)
		if r.answer(t, lab.Packet{}.With(handshake(frame.HandshakeInit, callID, cookie, 0, 500))) != nil {
			t.Error("who has shown a cookie was given another")
		}
		r.refill(t)
		r.exhaust(t, 0)
		// After two changes of the secret a cookie is good for nothing.
		r.mustSecrets(t, frame.Key{7}, secretNow)
		r.expect(t, lab.Packet{}.With(handshake(frame.HandshakeInit, callID, cookie, 0, 500)), "pass")
		r.mustSecrets(t, frame.Key{8}, frame.Key{7})
		r.answer(t, lab.Packet{}.With(handshake(frame.HandshakeInit, callID, cookie, 0, 500)))
	})
}

// Where the interface is still to finish the checksum of what came, it is to finish that
// of the answer, too; a driver's packet is whole.
func TestCookieChecksumOffload(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.mustSecrets(t, secretNow, secretBefore)
		r.exhaust(t, 0)
		for _, c := range []struct {
			carrier lab.Packet
			source  netip.AddrPort
			size    int
		}{
			{lab.Packet{}, lab.SourceIPv4, 20}, {lab.Packet{IPv6: true}, lab.SourceIPv6, 40},
		} {
			raw := c.carrier.With(handshake(frame.HandshakeInit, callID, [16]byte{}, 0, 600))
			n := (c.size - 8) / 2
			if c.size == 20 {
				n = 4
			}
			ip, udp := raw[14:14+c.size], raw[14+c.size:]
			sum := internetSum(pseudoHeader(ip[c.size-2*n:c.size-n], ip[c.size-n:], len(udp)))
			binary.BigEndian.PutUint16(udp[6:], sum)
			checkAnswer(t, raw, r.answer(t, raw), c.size, c.source, r.prog.Type() != ebpf.XDP)
		}
	})
}

// A cookie is good under no secret that is known: not before userspace has set one.
func TestCookiesOfNoSecret(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.exhaust(t, 0)
		cookie := frame.Cookie(frame.Key{}, lab.SourceIPv4, callID)
		r.answer(t, lab.Packet{}.With(handshake(frame.HandshakeInit, callID, cookie, 0, 500)))
	})
}

// The answer finds its way through the stacks of both hosts, whatever is left to the
// devices on it, and a stranger who shows it is let in while false sources use up all
// that there is for strangers.
func TestCookieOverTheWire(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			node, peer := lab.TwoHosts(t)
			v := open(t, node, mode)
			if mode == ModeXDPNative {
				open(t, peer, mode) // a veth takes what a driver sends back only with a program at its other end
			}
			r := newRunner(t, v, "xdp")
			r.mustSecrets(t, secretNow, secretBefore)
			for network, addr := range map[string]netip.Addr{"udp4": node.IPv4, "udp6": node.IPv6} {
				mesh, caller := node.Listen(t, network, frame.Port), peer.Listen(t, network, 0)
				from := lab.Station{Conn: caller, To: netip.AddrPortFrom(addr, frame.Port)}
				r.exhaust(t, 0)
				from.Send(t, handshake(frame.HandshakeInit, callID, [16]byte{}, 0, 1000))
				h, payload, err := frame.Parse(lab.Receive(t, caller))
				if err != nil || h.Type != frame.HandshakeCookie || len(payload) != frame.HandshakePrefix+frame.CookieLen {
					t.Fatalf("%+v, %d bytes: %v", h, len(payload), err)
				}
				cookie := [16]byte(payload[frame.HandshakePrefix:])
				from.Send(t, handshake(frame.HandshakeInit, callID, cookie, 0, 1000))
				if h, _, err := frame.Parse(lab.Receive(t, mesh)); err != nil || h.Type != frame.HandshakeInit {
					t.Errorf("%s: %+v arrived: %v", network, h, err)
				}
			}
			if counts := r.counts(t); counts["rate_limited"] != 2 {
				t.Errorf("%v", counts)
			}
		})
	}
}
