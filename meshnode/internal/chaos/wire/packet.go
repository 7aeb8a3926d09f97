// Package wire sends and sees packets below the UDP socket, for attacks on the
// mesh: with the source address of another (Spoofer), and as they leave an
// interface (Tap).
package wire

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	udpHeaderLen = 8
	udpChecksum  = 6 // offset of the checksum in the UDP header
	hopLimit     = 64
)

// packet returns the IP packet of a UDP datagram between two addresses of one
// family. The kernel fills in IPv4's identification and checksum (raw(7)).
func packet(payload []byte, from, to netip.AddrPort) []byte {
	length := udpHeaderLen + len(payload)
	var b []byte
	if from.Addr().Is4() {
		b = make([]byte, ipv4.HeaderLen, ipv4.HeaderLen+length)
		b[0] = ipv4.Version<<4 | ipv4.HeaderLen/4
		binary.BigEndian.PutUint16(b[2:], uint16(ipv4.HeaderLen+length))
		b[8], b[9] = hopLimit, unix.IPPROTO_UDP
	} else {
		b = make([]byte, ipv6.HeaderLen, ipv6.HeaderLen+length)
		b[0] = ipv6.Version << 4
		binary.BigEndian.PutUint16(b[4:], uint16(length))
		b[6], b[7] = unix.IPPROTO_UDP, hopLimit
	}
	src, dst := addresses(b)
	copy(src, from.Addr().AsSlice())
	copy(dst, to.Addr().AsSlice())
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, 0, 0)
	b = append(b, payload...)
	setChecksum(b, b[len(b)-length:])
	return b
}

// addresses returns the places of source and destination in an IP header.
func addresses(ip []byte) (src, dst []byte) {
	if ip[0]>>4 == ipv4.Version {
		return ip[12:16], ip[16:20]
	}
	return ip[8:24], ip[24:40]
}

// setChecksum writes the checksum of a UDP datagram in an IP packet (RFC 768, RFC
// 8200 section 8.1).
func setChecksum(ip, udp []byte) {
	binary.BigEndian.PutUint16(udp[udpChecksum:], 0)
	src, dst := addresses(ip)
	sum := uint32(unix.IPPROTO_UDP) + uint32(len(udp))
	for _, part := range [][]byte{src, dst, udp} {
		for ; len(part) > 1; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
		if len(part) == 1 {
			sum += uint32(part[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum = ^sum & 0xffff; sum == 0 {
		sum = 0xffff // 0 says that there is none
	}
	binary.BigEndian.PutUint16(udp[udpChecksum:], uint16(sum))
}

// datagram finds the UDP datagram in an Ethernet frame with a plain IP header, as
// mesh nodes send them: without tags, extension headers or IP fragments.
func datagram(ethernet []byte) (ip, udp []byte, ok bool) {
	const header, typeAt = 14, 12
	if len(ethernet) < header {
		return nil, nil, false
	}
	ip = ethernet[header:]
	var headerLen, length int
	switch binary.BigEndian.Uint16(ethernet[typeAt:]) {
	case unix.ETH_P_IP:
		if len(ip) < ipv4.HeaderLen || ip[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 {
			return nil, nil, false
		}
		headerLen, length = int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	case unix.ETH_P_IPV6:
		if len(ip) < ipv6.HeaderLen || ip[6] != unix.IPPROTO_UDP {
			return nil, nil, false
		}
		headerLen, length = ipv6.HeaderLen, ipv6.HeaderLen+int(binary.BigEndian.Uint16(ip[4:]))
	default:
		return nil, nil, false
	}
	if length < headerLen+udpHeaderLen || length > len(ip) {
		return nil, nil, false
	}
	return ip[:length], ip[headerLen:length], true
}
