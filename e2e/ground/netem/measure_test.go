package netem

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// flow is what a measurement sends: bursts of packets at an interval.
type flow struct {
	packets, burst int
	every          time.Duration
	size           int           // bytes, at least 16
	wait           time.Duration // for the last packet
	ipv6           bool
}

// measure sends packets from one host to another and tells their one-way delays,
// which need no synchronised clocks within one process.
func measure(t testing.TB, from, to *host, f flow) trace {
	t.Helper()
	address, source := to.ipv4, from.ipv4
	if f.ipv6 {
		address, source = to.ipv6, from.ipv6
	}
	in, out := to.listen(t, address), from.listen(t, source)
	roomFor(t, in)
	began := time.Now()
	done := make(chan trace)
	go func() {
		s, arrived := make(trace, f.packets), 0
		for i := range s {
			s[i].lost = true
		}
		b := make([]byte, 1<<16)
		for arrived < len(s) {
			n, err := in.Read(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if now := time.Since(began); err == nil && n >= 16 {
				s[binary.BigEndian.Uint64(b)] = packetFate{delay: now - time.Duration(binary.BigEndian.Uint64(b[8:]))}
				arrived++
			}
		}
		done <- s
	}()
	target := in.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
	b := make([]byte, max(f.size, 16))
	for i := range f.packets {
		if i%f.burst == 0 { // one that is late catches up
			<-time.After(time.Until(began.Add(time.Duration(i/f.burst) * f.every)))
		}
		binary.BigEndian.PutUint64(b, uint64(i))
		binary.BigEndian.PutUint64(b[8:], uint64(time.Since(began)))
		if _, err := out.WriteToUDPAddrPort(b, target); err != nil {
			t.Errorf("send packet %d: %v", i, err)
			break
		}
	}
	if err := in.SetReadDeadline(time.Now().Add(f.wait)); err != nil {
		t.Error(err)
	}
	return <-done
}

// roomFor gives a socket room for every packet of a flow, more than a process may
// ask for without privilege.
func roomFor(t testing.TB, conn *net.UDPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 128<<20)
	})
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
}
