// Package transport carries mesh datagrams: a UDP socket for real nodes and an
// in-memory network for tests. It also splits messages over frames and joins
// them again.
package transport

import (
	"fmt"
	"net"
	"net/netip"
)

// MaxDatagram is the size in bytes of a buffer that holds any mesh datagram.
const MaxDatagram = 2048

// Conn sends and receives datagrams. All methods may be called concurrently,
// except that only one goroutine reads at a time.
type Conn interface {
	// ReadFrom fills b with the next datagram and returns its length and
	// source. After Close it returns an error that wraps net.ErrClosed.
	ReadFrom(b []byte) (int, netip.AddrPort, error)
	// WriteTo sends b as one datagram. It does not retain b. An error says
	// that the datagram did not leave; no error says nothing about arrival.
	WriteTo(b []byte, to netip.AddrPort) error
	// LocalAddr is the address the connection is bound to.
	LocalAddr() netip.AddrPort
	// Close stops a pending ReadFrom.
	Close() error
}

// udp is a Conn over one UDP socket.
type udp struct{ c *net.UDPConn }

// receiveBuffer is the size in bytes asked for the socket's receive buffer: a
// burst of handshakes of 8 frames each from 50 peers fits.
const receiveBuffer = 1 << 20

// ListenUDP binds a UDP socket to addr, e.g. "[::]:26970" for all addresses.
func ListenUDP(addr netip.AddrPort) (Conn, error) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("mesh socket on %v: %w", addr, err)
	}
	// The kernel caps the size at net.core.rmem_max; a smaller buffer costs
	// frames under bursts and nothing else.
	if err := c.SetReadBuffer(receiveBuffer); err != nil {
		return nil, fmt.Errorf("mesh socket on %v: receive buffer: %w", addr, closeAfter(c, err))
	}
	return &udp{c}, nil
}

func closeAfter(c *net.UDPConn, err error) error {
	if cerr := c.Close(); cerr != nil {
		return fmt.Errorf("%w (and closing it: %v)", err, cerr)
	}
	return err
}

func (u *udp) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	n, from, err := u.c.ReadFromUDPAddrPort(b)
	return n, Unmap(from), err
}

func (u *udp) WriteTo(b []byte, to netip.AddrPort) error {
	_, err := u.c.WriteToUDPAddrPort(b, to)
	return err
}

func (u *udp) LocalAddr() netip.AddrPort {
	a, ok := u.c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return Unmap(a.AddrPort())
}

func (u *udp) Close() error { return u.c.Close() }

// Unmap turns an IPv4 address that is mapped into IPv6 into plain IPv4, so that
// addresses compare equal whichever socket family delivered them.
func Unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
