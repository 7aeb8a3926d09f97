// Package transport carries mesh datagrams: a UDP socket for real nodes and an
// in-memory network for tests. It also splits messages over frames and joins
// them again.
package transport

import "net/netip"

// MaxDatagram is the size in bytes of a buffer that holds any mesh datagram.
const MaxDatagram = 2048

// Conn sends and receives datagrams. All methods may be called concurrently,
// except that only one goroutine reads at a time.
type Conn interface {
	// ReadFrom fills b with the next datagram and returns its length and
	// source. After Close it returns an error that wraps net.ErrClosed.
	ReadFrom(b []byte) (int, netip.AddrPort, error)
	// WriteTo sends b as one datagram, which nobody on its way fragments. It does
	// not retain b. An error says that the datagram did not leave, one that wraps
	// syscall.EMSGSIZE because it is larger than Largest; no error says nothing about
	// arrival.
	WriteTo(b []byte, to netip.AddrPort) error
	// Largest is the largest datagram in bytes to an address that the interface
	// carries whole.
	Largest(to netip.Addr) int
	// LocalAddr is the address the connection is bound to.
	LocalAddr() netip.AddrPort
	// Close stops a pending ReadFrom.
	Close() error
}

// Overhead is the size in bytes of the IP and UDP headers of a datagram to an address.
func Overhead(to netip.Addr) int {
	if to.Is4() || to.Is4In6() {
		return 20 + 8
	}
	return 40 + 8
}

// Unmap turns an IPv4 address that is mapped into IPv6 into plain IPv4, so that
// addresses compare equal whichever socket family delivered them.
func Unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
