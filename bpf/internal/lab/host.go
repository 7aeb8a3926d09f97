package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf/features"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is a network namespace with one interface, eth0.
type Host struct {
	ns         netns.NsHandle
	IPv4, IPv6 netip.Addr
}

// TwoHosts makes two network namespaces joined by a cable with one queue, as pods
// have.
func TwoHosts(t testing.TB) (node, peer *Host) {
	t.Helper()
	return TwoHostsWithQueues(t, 1)
}

// TwoHostsWithQueues makes two network namespaces joined by a cable that can be
// used by so many CPUs at once.
func TwoHostsWithQueues(t testing.TB, queues int) (node, peer *Host) {
	t.Helper()
	node = newHost(t, "10.99.0.1", "fd00:99::1")
	peer = newHost(t, "10.99.0.2", "fd00:99::2")
	cable(t, node, peer, queues)
	return node, peer
}

// newHost makes a network namespace. Where that is not permitted the test is
// skipped, but never in CI.
func newHost(t testing.TB, ipv4, ipv6 string) *Host {
	t.Helper()
	h := &Host{IPv4: netip.MustParseAddr(ipv4), IPv6: netip.MustParseAddr(ipv6)}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and end the thread with its namespace
		var err error
		h.ns, err = netns.New()
		made <- err
	}()
	if err := <-made; errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
		t.Skipf("needs root to make network namespaces: %v", err)
	} else if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := h.ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// HasTCX tells whether the kernel is new enough for tcx.
func HasTCX(t testing.TB) bool {
	t.Helper()
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	major, minor := version>>16, version>>8&0xff
	return major > 6 || major == 6 && minor >= 6
}

// NeedsTCX skips the test on kernels that are too old for tcx, and only there.
func NeedsTCX(t testing.TB) {
	t.Helper()
	if !HasTCX(t) {
		t.Skip("tcx needs Linux 6.6")
	}
}

// Cable connects the eth0 of two hosts.
func Cable(t testing.TB, a, b *Host) {
	t.Helper()
	cable(t, a, b, 1)
}

func cable(t testing.TB, a, b *Host, queues int) {
	t.Helper()
	a.Do(t, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "eth0", NumTxQueues: queues, NumRxQueues: queues},
			PeerName:  "eth0", PeerNamespace: netlink.NsFd(b.ns),
		})
	})
	for _, h := range []*Host{a, b} {
		h.Do(t, func() error {
			eth0, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			for _, addr := range []string{h.IPv4.String() + "/24", h.IPv6.String() + "/64"} {
				parsed, err := netlink.ParseAddr(addr)
				if err != nil {
					return err
				}
				parsed.Flags = unix.IFA_F_NODAD // usable at once
				if err := netlink.AddrAdd(eth0, parsed); err != nil {
					return err
				}
			}
			if err := netlink.LinkSetUp(eth0); err != nil || queues == 1 {
				return err
			}
			return spread(queues)
		})
	}
}

// spread gives each CPU a queue of eth0 to send by, as network cards' drivers do
// (Linux, Documentation/networking/scaling.rst, XPS). It sees the namespace's
// devices in a sysfs of its own, and the mount ends with the thread.
func spread(queues int) error {
	for _, step := range []func() error{
		func() error { return unix.Unshare(unix.CLONE_NEWNS) },
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("sysfs", "/sys", "sysfs", 0, "") },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("see the namespace's devices: %w", err)
		}
	}
	for q := range queues {
		file := fmt.Sprintf("/sys/class/net/eth0/queues/tx-%d/xps_cpus", q)
		if err := os.WriteFile(file, fmt.Appendf(nil, "%x", 1<<q), 0); err != nil {
			return err
		}
	}
	return nil
}

// Do runs f in the host's namespace and fails the test if f fails.
func (h *Host) Do(t testing.TB, f func() error) {
	t.Helper()
	if err := h.Try(f); err != nil {
		t.Fatal(err)
	}
}

// Try runs f in the host's namespace and returns its error.
func (h *Host) Try(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and end the thread with its namespace
		if err := netns.Set(h.ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// Listen opens a UDP socket on the host, network being udp4 or udp6.
func (h *Host) Listen(t testing.TB, network string, port int) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	h.Do(t, func() (err error) {
		conn, err = net.ListenUDP(network, &net.UDPAddr{Port: port})
		return err
	})
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// Station is a socket that speaks to one address.
type Station struct {
	Conn *net.UDPConn
	To   netip.AddrPort
}

// Send sends one datagram or fails the test.
func (s Station) Send(t testing.TB, payload []byte) {
	t.Helper()
	if _, err := s.Conn.WriteToUDPAddrPort(payload, s.To); err != nil {
		t.Fatalf("send to %s: %v", s.To, err)
	}
}

// Receive returns the next datagram of a socket or fails the test.
func Receive(t testing.TB, conn *net.UDPConn) []byte {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 65536)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return b[:n]
}
