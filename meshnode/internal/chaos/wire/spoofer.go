package wire

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Spoofer sends UDP datagrams from whatever address its caller says. The networks
// between may refuse to carry them. Its methods may be called concurrently.
type Spoofer struct{ v4, v6 int }

// NewSpoofer needs CAP_NET_RAW; without it the error wraps os.ErrPermission.
func NewSpoofer() (*Spoofer, error) {
	v4, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("raw IPv4 socket (needs CAP_NET_RAW): %w", err)
	}
	v6, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		v6 = -1 // a machine without IPv6
	}
	return &Spoofer{v4, v6}, nil
}

// Send sends a datagram with the payload to an address, in the name of another one
// of the same family.
func (s *Spoofer) Send(payload []byte, from, to netip.AddrPort) error {
	if from.Addr().Is4() != to.Addr().Is4() {
		return fmt.Errorf("from %s to %s: not of one family", from, to)
	}
	b := packet(payload, from, to)
	if to.Addr().Is4() {
		return unix.Sendto(s.v4, b, 0, &unix.SockaddrInet4{Addr: to.Addr().As4()})
	}
	if s.v6 < 0 {
		return fmt.Errorf("to %s: no IPv6 here", to)
	}
	return unix.Sendto(s.v6, b, 0, &unix.SockaddrInet6{Addr: to.Addr().As16()})
}

// Close closes the sockets.
func (s *Spoofer) Close() error {
	err := unix.Close(s.v4)
	if s.v6 >= 0 {
		err = errors.Join(err, unix.Close(s.v6))
	}
	return err
}
