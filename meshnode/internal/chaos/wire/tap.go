package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// Tap sees the packets that leave an interface, and sends packets through it below
// the IP stack.
type Tap struct {
	fd    int
	index int
}

const (
	// tapPoll is how soon a capture notices that it is over.
	tapPoll = 50 * time.Millisecond
	// tapBuffer is the size in bytes of the socket's receive buffer.
	tapBuffer = 4 << 20
	// maxPacket is the size in bytes of what is looked at: a mesh datagram is smaller.
	maxPacket = 4096
)

// Sent is a mesh frame as it left the interface, with the packet around it.
type Sent struct {
	Header frame.Header
	To     netip.AddrPort
	Packet []byte // from the Ethernet header on, with a whole UDP checksum
}

// OpenTap opens a tap in the caller's network namespace. It needs CAP_NET_RAW;
// without it the error wraps os.ErrPermission.
func OpenTap(name string) (*Tap, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		return nil, fmt.Errorf("packet socket on %s (needs CAP_NET_RAW): %w", name, err)
	}
	t := &Tap{fd: fd, index: iface.Index}
	poll := unix.NsecToTimeval(tapPoll.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &poll),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, tapBuffer),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: iface.Index}),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("packet socket on %s: %w", name, err), t.Close())
	}
	return t, nil
}

// Watch calls see for every mesh frame that leaves, until ctx ends or see returns
// false. What a frame holds is see's to keep.
func (t *Tap) Watch(ctx context.Context, see func(Sent) bool) error {
	buffer := make([]byte, maxPacket)
	for ctx.Err() == nil {
		n, from, err := unix.Recvfrom(t.fd, buffer, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("packet socket: %w", err)
		}
		if link, ok := from.(*unix.SockaddrLinklayer); !ok || link.Pkttype != unix.PACKET_OUTGOING {
			continue
		}
		if s, ok := sent(buffer[:n]); ok && !see(s) {
			return nil
		}
	}
	return nil
}

// sent reads a packet; ok says that it holds a mesh frame to the mesh's port.
func sent(b []byte) (s Sent, ok bool) {
	b = append([]byte(nil), b...)
	ip, udp, ok := datagram(b)
	if !ok || binary.BigEndian.Uint16(udp[2:]) != frame.Port {
		return s, false
	}
	h, _, err := frame.Parse(udp[udpHeaderLen:])
	if err != nil {
		return s, false
	}
	_, dst := addresses(ip)
	addr, _ := netip.AddrFromSlice(dst)
	// The interface may have been going to compute it.
	setChecksum(ip, udp)
	return Sent{Header: h, To: netip.AddrPortFrom(addr, frame.Port), Packet: b}, true
}

// Send sends a packet as it is.
func (t *Tap) Send(packet []byte) error {
	return unix.Sendto(t.fd, packet, 0, &unix.SockaddrLinklayer{Ifindex: t.index})
}

// Close closes the tap.
func (t *Tap) Close() error { return unix.Close(t.fd) }
