package wire

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

func mesh(t *testing.T, payload int) []byte {
	t.Helper()
	b := make([]byte, frame.HeaderLen+payload)
	h := frame.Header{Type: frame.Data, Length: uint16(payload), Fragments: 1, Session: frame.SessionID{1}, Sequence: 7}
	h.Put(b, frame.Key{})
	for i := range payload {
		b[frame.HeaderLen+i] = byte(i)
	}
	return b
}

// sum is the Internet checksum of a UDP datagram with its pseudo header: 0xffff if
// what it carries is right (RFC 1071).
func sum(ip, udp []byte) uint32 {
	src, dst := addresses(ip)
	all := bytes.Join([][]byte{src, dst, {0, 17, byte(len(udp) >> 8), byte(len(udp))}, udp}, nil)
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	var s uint32
	for i := 0; i < len(all); i += 2 {
		s += uint32(all[i])<<8 | uint32(all[i+1])
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return s
}

func TestPacketsAreWhole(t *testing.T) {
	for _, c := range []struct {
		from, to string
		proto    []byte
	}{
		{"10.0.0.1:26970", "10.0.0.2:26970", []byte{8, 0}},
		{"[fd00::1]:26970", "[fd00::2]:26970", []byte{0x86, 0xdd}},
	} {
		for _, payload := range []int{0, 1, 100, 1399, 1400} {
			f := mesh(t, payload)
			p := packet(f, netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to))
			ethernet := append(append(make([]byte, 12), c.proto...), p...)
			ethernet = append(ethernet, 0, 0, 0) // padding is no part of it
			ip, udp, ok := datagram(ethernet)
			if !ok || !bytes.Equal(udp[udpHeaderLen:], f) || sum(ip, udp) != 0xffff {
				t.Fatalf("%s, %d bytes: found %v, sum %#x", c.from, payload, ok, sum(ip, udp))
			}
			// What left before the interface computed its checksum.
			udp[udpChecksum] ^= 0x5a
			s, ok := sent(ethernet)
			if !ok || s.To != netip.MustParseAddrPort(c.to) || s.Header.Sequence != 7 {
				t.Fatalf("%s: sent %v %+v", c.from, ok, s.Header)
			}
			if ip, udp, _ := datagram(s.Packet); sum(ip, udp) != 0xffff {
				t.Errorf("%s: the checksum was not mended", c.from)
			}
		}
	}
}

func TestOtherPacketsAreNone(t *testing.T) {
	good := append(append(make([]byte, 12), 8, 0), packet(mesh(t, 100), netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:26970"))...)
	if _, ok := sent(good); !ok {
		t.Fatal("the packet that the others are made of is none")
	}
	for name, change := range map[string]func(b []byte) []byte{
		"ARP":               func(b []byte) []byte { b[13] = 6; return b },
		"TCP":               func(b []byte) []byte { b[14+9] = 6; return b },
		"fragment":          func(b []byte) []byte { b[14+6] = 0x20; return b },
		"another port":      func(b []byte) []byte { b[14+20+3]++; return b },
		"no mesh frame":     func(b []byte) []byte { b[14+20+8] = 0; return b },
		"longer than it is": func(b []byte) []byte { b[14+2] = 0xff; return b },
		"header beyond":     func(b []byte) []byte { b[14] = 0x4f; return b[:14+30] },
	} {
		if _, ok := sent(change(bytes.Clone(good))); ok {
			t.Errorf("%s is taken for a mesh frame", name)
		}
	}
	for n := range good {
		if _, ok := sent(good[:n]); ok {
			t.Errorf("the first %d bytes are taken for a mesh frame", n)
		}
	}
}
