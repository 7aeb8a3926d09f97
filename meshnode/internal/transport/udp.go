package transport

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// UDP is a Conn over a UDP socket.
type UDP struct {
	addr  netip.AddrPort // as bound
	iface string

	mu     sync.Mutex // of those who replace the socket
	index  int        // of the interface that it is bound to
	stray  error      // why it is not bound to the one of that name now
	closed bool
	socket atomic.Pointer[datagrams]
}

// receiveBuffer is the size in bytes asked for the socket's receive buffer: a
// burst of handshakes of 8 frames each from 50 peers fits.
const receiveBuffer = 1 << 20

// defaultMTU is that of Ethernet, where no interface is given.
const defaultMTU = 1500

// ListenUDP binds a UDP socket to addr, e.g. "[::]:26970" for all addresses (of IPv4
// alone on a host without IPv6), and to the interface iface: nothing that comes in by
// another one reaches it, and nothing leaves by another one. An empty iface means any.
func ListenUDP(addr netip.AddrPort, iface string) (*UDP, error) {
	u := &UDP{addr: addr, iface: iface}
	c, index, err := u.open()
	if errors.Is(err, syscall.EAFNOSUPPORT) && addr.Addr() == netip.IPv6Unspecified() {
		u.addr = netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())
		c, index, err = u.open()
	}
	if err != nil {
		return nil, fmt.Errorf("mesh socket on %v: %w", addr, err)
	}
	u.index = index
	u.socket.Store(c)
	u.addr = netip.AddrPortFrom(u.addr.Addr(), u.LocalAddr().Port())
	return u, nil
}

// open makes a socket and returns the index of the interface that it is bound to.
func (u *UDP) open() (d *datagrams, index int, err error) {
	if u.iface != "" {
		iface, err := net.InterfaceByName(u.iface)
		if err != nil {
			return nil, 0, fmt.Errorf("interface %s: %w", u.iface, err)
		}
		index = iface.Index
	}
	listen := net.ListenConfig{Control: func(network, _ string, raw syscall.RawConn) error {
		var err error
		if cerr := raw.Control(func(fd uintptr) { err = u.configure(int(fd), network, index) }); cerr != nil {
			return cerr
		}
		return err
	}}
	p, err := listen.ListenPacket(context.Background(), "udp", u.addr.String())
	if err != nil {
		return nil, 0, err
	}
	c := p.(*net.UDPConn)
	// The kernel caps the size at net.core.rmem_max; a smaller buffer costs
	// frames under bursts and nothing else.
	if err := c.SetReadBuffer(receiveBuffer); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("receive buffer: %w", err), c.Close())
	}
	if d, err = newDatagrams(c); err != nil {
		return nil, 0, errors.Join(err, c.Close())
	}
	return d, index, nil
}

// configure sets a socket's options before it is bound. Don't-fragment is set on all
// that it sends, and what the kernel has heard of path MTUs by ICMP does not count: see
// package pmtu. An IPv6 socket sends IPv4, too, under the options of IPv4.
func (u *UDP) configure(fd int, network string, index int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE); err != nil {
		return fmt.Errorf("don't-fragment, IPv4: %w", err)
	}
	if network == "udp6" {
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE); err != nil {
			return fmt.Errorf("don't-fragment, IPv6: %w", err)
		}
	}
	if u.iface == "" {
		return nil
	}
	if err := unix.BindToDevice(fd, u.iface); err != nil {
		return fmt.Errorf("bind to interface %s: %w", u.iface, err)
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, cameIn(index)); err != nil {
		return fmt.Errorf("filter of interface %s: %w", u.iface, err)
	}
	return nil
}

// cameIn is a filter for what has really come in by an interface. To a socket that is
// bound to it the kernel also gives what this host sends to the interface's own address,
// although that goes by the loopback interface.
func cameIn(index int) *unix.SockFprog {
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipFalse: 1},
		bpf.RetConstant{Val: math.MaxUint32},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		panic("transport: " + err.Error()) // the program is fixed
	}
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	return &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
}

// Rebind binds to the interface anew if there is another one of the same name now. The
// address stays. Until it has succeeded Bound tells why not.
func (u *UDP) Rebind() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.iface == "" || u.closed {
		return nil
	}
	if iface, err := net.InterfaceByName(u.iface); err == nil && iface.Index == u.index {
		u.stray = nil
		return nil
	}
	c, index, err := u.open()
	if err != nil {
		u.stray = fmt.Errorf("mesh socket on %v: %w", u.addr, err)
		return u.stray
	}
	u.index, u.stray = index, nil
	return u.socket.Swap(c).conn.Close()
}

// Bound returns why the last Rebind did not bind the socket to its interface.
func (u *UDP) Bound() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.stray
}

// ReadFrom implements Conn.
func (u *UDP) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	for {
		c := u.socket.Load()
		n, from, err := c.read(b)
		if errors.Is(err, net.ErrClosed) && c != u.socket.Load() {
			continue // replaced
		}
		return n, Unmap(from), err
	}
}

// WriteTo implements Conn.
func (u *UDP) WriteTo(b []byte, to netip.AddrPort) error {
	return u.socket.Load().write(b, to)
}

// Largest implements Conn.
func (u *UDP) Largest(to netip.Addr) int {
	mtu := defaultMTU
	if u.iface != "" {
		if iface, err := net.InterfaceByName(u.iface); err == nil {
			mtu = iface.MTU
		}
	}
	return mtu - Overhead(to)
}

// LocalAddr implements Conn.
func (u *UDP) LocalAddr() netip.AddrPort {
	a, ok := u.socket.Load().conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return Unmap(a.AddrPort())
}

// Close implements Conn.
func (u *UDP) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	return u.socket.Load().conn.Close()
}
