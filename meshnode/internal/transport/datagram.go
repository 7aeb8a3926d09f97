package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// datagrams reads from and writes to a UDP socket without telling Go's scheduler about it. A socket that does not block
// takes and gives a datagram in some microseconds, whereas each system call of which the scheduler is told wakes
// its monitor, a thread that then looks around every 20 us for a while: a fifth of the CPU time of a node at rest, which
// handles a datagram every few milliseconds. While nothing can be read or written, the goroutine waits in the
// runtime's poller as with package net.
type datagrams struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	v6   bool
	ops  sync.Pool // of *operation
}

// operation is one read or write under way.
type operation struct {
	try     func(fd uintptr) (done bool)
	call    uintptr
	b       []byte
	address [unix.SizeofSockaddrInet6]byte // struct sockaddr_in or sockaddr_in6
	size    uint32                         // of the address
	n       int
	errno   syscall.Errno
}

func newDatagrams(c *net.UDPConn) (*datagrams, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	local, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil, fmt.Errorf("%T is no address of UDP", c.LocalAddr())
	}
	d := &datagrams{conn: c, raw: raw, v6: local.IP.To4() == nil}
	d.ops.New = func() any {
		o := &operation{}
		o.try = o.once
		return o
	}
	return d, nil
}

// once makes the call. A socket that is not ready is tried again when it is.
func (o *operation) once(fd uintptr) bool {
	var first *byte
	if len(o.b) > 0 {
		first = &o.b[0]
	}
	for {
		var n uintptr
		var errno syscall.Errno
		if o.call == unix.SYS_RECVFROM {
			n, _, errno = unix.RawSyscall6(o.call, fd, uintptr(unsafe.Pointer(first)), uintptr(len(o.b)), unix.MSG_DONTWAIT,
				uintptr(unsafe.Pointer(&o.address)), uintptr(unsafe.Pointer(&o.size)))
		} else {
			n, _, errno = unix.RawSyscall6(o.call, fd, uintptr(unsafe.Pointer(first)), uintptr(len(o.b)), unix.MSG_DONTWAIT,
				uintptr(unsafe.Pointer(&o.address)), uintptr(o.size))
		}
		switch errno {
		case unix.EAGAIN:
			return false
		case unix.EINTR:
			continue
		}
		o.n, o.errno = int(n), errno
		return true
	}
}

func (o *operation) err(what string, failed error) error {
	if failed != nil {
		return failed
	}
	if o.errno != 0 {
		return os.NewSyscallError(what, o.errno)
	}
	return nil
}

// read waits for a datagram.
func (d *datagrams) read(b []byte) (int, netip.AddrPort, error) {
	o := d.ops.Get().(*operation)
	defer d.ops.Put(o)
	o.call, o.b, o.size = unix.SYS_RECVFROM, b, uint32(len(o.address))
	err := o.err("recvfrom", d.raw.Read(o.try))
	o.b = nil
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(o.address[2:])
	if !d.v6 {
		return o.n, netip.AddrPortFrom(netip.AddrFrom4([4]byte(o.address[4:8])), port), nil
	}
	return o.n, netip.AddrPortFrom(netip.AddrFrom16([16]byte(o.address[8:24])), port), nil
}

var (
	// errFamily is that of an IPv6 address at a socket of IPv4.
	errFamily  = errors.New("an IPv6 address on a host without IPv6")
	errAddress = errors.New("no address to send to")
)

// write sends a datagram.
func (d *datagrams) write(b []byte, to netip.AddrPort) error {
	if !to.IsValid() {
		return errAddress
	}
	o := d.ops.Get().(*operation)
	defer d.ops.Put(o)
	clear(o.address[:])
	binary.BigEndian.PutUint16(o.address[2:], to.Port())
	switch {
	case d.v6:
		binary.NativeEndian.PutUint16(o.address[:], unix.AF_INET6)
		a := to.Addr().As16()
		copy(o.address[8:], a[:])
		o.size = unix.SizeofSockaddrInet6
	case to.Addr().Unmap().Is4():
		binary.NativeEndian.PutUint16(o.address[:], unix.AF_INET)
		a := to.Addr().Unmap().As4()
		copy(o.address[4:], a[:])
		o.size = unix.SizeofSockaddrInet4
	default:
		return errFamily
	}
	o.call, o.b = unix.SYS_SENDTO, b
	err := o.err("sendto", d.raw.Write(o.try))
	o.b = nil
	return err
}
