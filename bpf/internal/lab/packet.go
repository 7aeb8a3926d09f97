// Package lab is what the tests of the eBPF programs share: crafted packets and
// hosts in network namespaces.
package lab

import (
	"encoding/binary"
	"net/netip"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// Packet describes an Ethernet frame for the program; its zero fields are
// completed so that the packet is what an honest stack would send.
type Packet struct {
	VLANs      []uint16 // ethertypes of the tags, outermost first
	Source     netip.AddrPort
	IPv6       bool
	Options    int      // bytes of IPv4 options
	Extensions [][]byte // IPv6, each with its type in byte 0, replaced by the next header's
	Proto      uint8    // 17
	Port       uint16   // frame.Port
	Fragment   uint16   // IPv4 flags and offset
	Payload    []byte   // of UDP
	UDPLength  int      // what the UDP header says, relative to the truth
	IPLength   int      // what the IP header says, relative to the truth
	Checksum   bool     // UDP's is filled in
	Padding    int      // bytes after the IP packet
	Cut        int      // bytes missing from the end of the packet
}

// The addresses of packets that name no source, and the destination of all.
var (
	SourceIPv4 = netip.MustParseAddrPort("10.244.1.7:26970")
	SourceIPv6 = netip.MustParseAddrPort("[fd00:10:244:1::7]:26970")

	DestinationIPv4 = netip.MustParseAddr("10.244.2.9")
	DestinationIPv6 = netip.MustParseAddr("fd00:10:244:2::9")
)

// The IPv6 extension headers.
const (
	HopByHop           = 0
	Routing            = 43
	FragmentExtension  = 44
	DestinationOptions = 60
)

// Extension is an IPv6 extension header of 8 × (1 + more) bytes.
func Extension(kind uint8, more int) []byte {
	ext := make([]byte, 8*(1+more))
	ext[0], ext[1] = kind, uint8(more)
	ext[2], ext[3] = 1, uint8(len(ext)-4) // one PadN option
	return ext
}

// FragmentHeader is an IPv6 fragment header with its offset and flag field.
func FragmentHeader(field uint16) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{FragmentExtension, 0}, field), 0, 0, 0, 1)
}

// With is the packet with another UDP payload.
func (p Packet) With(payload []byte) []byte {
	p.Payload = payload
	return p.Bytes()
}

// Bytes is the packet as an Ethernet frame.
func (p Packet) Bytes() []byte {
	if p.Proto == 0 {
		p.Proto = 17
	}
	if p.Port == 0 {
		p.Port = frame.Port
	}
	if p.Source == (netip.AddrPort{}) {
		p.Source = SourceIPv4
		if p.IPv6 {
			p.Source = SourceIPv6
		}
	}
	be := binary.BigEndian
	udp := be.AppendUint16(nil, p.Source.Port())
	udp = be.AppendUint16(udp, p.Port)
	udp = be.AppendUint16(udp, uint16(8+len(p.Payload)+p.UDPLength))
	udp = be.AppendUint16(udp, 0)
	udp = append(udp, p.Payload...)
	if p.Checksum {
		be.PutUint16(udp[6:], p.checksum(udp))
	}

	out := make([]byte, 12, 128+len(udp))
	for _, tag := range p.VLANs {
		out = be.AppendUint16(be.AppendUint16(out, tag), 0) // a priority tag
	}
	if p.IPv6 {
		out = be.AppendUint16(out, 0x86dd)
		out = p.appendIPv6(out, udp)
	} else {
		out = be.AppendUint16(out, 0x0800)
		out = p.appendIPv4(out, udp)
	}
	out = append(out, make([]byte, p.Padding)...)
	return out[:len(out)-p.Cut]
}

// checksum is the checksum of a UDP datagram whose checksum field is zero (RFC
// 768, and RFC 8200 section 8.1).
func (p Packet) checksum(udp []byte) uint16 {
	destination := DestinationIPv4
	if p.IPv6 {
		destination = DestinationIPv6
	}
	data := append(p.Source.Addr().AsSlice(), destination.AsSlice()...)
	data = append(data, 0, 17, byte(len(udp)>>8), byte(len(udp)))
	data = append(data, udp...)
	if len(data)%2 == 1 {
		data = append(data, 0)
	}
	var sum uint32
	for i := 0; i < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum == 0xffff { // zero would mean none
		return 0xffff
	}
	return ^uint16(sum)
}

func (p Packet) appendIPv4(out, udp []byte) []byte {
	be := binary.BigEndian
	header := 20 + p.Options
	out = append(out, byte(0x40|header/4), 0)
	out = be.AppendUint16(out, uint16(header+len(udp)+p.IPLength))
	out = be.AppendUint16(out, 1)
	out = be.AppendUint16(out, p.Fragment)
	out = append(out, 64, p.Proto, 0, 0)
	out = append(out, p.Source.Addr().AsSlice()...)
	out = append(out, DestinationIPv4.AsSlice()...)
	for range p.Options {
		out = append(out, 1) // no operation
	}
	return append(out, udp...)
}

func (p Packet) appendIPv6(out, udp []byte) []byte {
	be := binary.BigEndian
	length, next := len(udp), p.Proto
	for _, ext := range p.Extensions {
		length += len(ext)
	}
	if len(p.Extensions) > 0 {
		next = p.Extensions[0][0]
	}
	out = append(out, 0x60, 0, 0, 0)
	out = be.AppendUint16(out, uint16(length+p.IPLength))
	out = append(out, next, 64)
	out = append(out, p.Source.Addr().AsSlice()...)
	out = append(out, DestinationIPv6.AsSlice()...)
	for i, ext := range p.Extensions {
		next := p.Proto
		if i+1 < len(p.Extensions) {
			next = p.Extensions[i+1][0]
		}
		out = append(append(out, next), ext[1:]...)
	}
	return append(out, udp...)
}

// Sealed is a frame of a session with a payload of n bytes.
func Sealed(typ frame.Type, id frame.SessionID, key frame.Key, sequence uint64, n int) []byte {
	h := frame.Header{Type: typ, Length: uint16(n), Fragments: 1, Session: id, Sequence: sequence}
	return Frame(h, key)
}

// Frame is a frame with the header h and a payload of h.Length counting bytes.
func Frame(h frame.Header, key frame.Key) []byte {
	b := make([]byte, frame.HeaderLen+int(h.Length))
	for i := range b[frame.HeaderLen:] {
		b[frame.HeaderLen+i] = byte(i * 7)
	}
	h.Put(b, key)
	return b
}

// Repeat is n copies of an extension header.
func Repeat(ext []byte, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = ext
	}
	return all
}
