package echo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// host is a network namespace with an address and the prober's socket in it.
type host struct {
	ns   netns.NsHandle
	addr netip.AddrPort
	conn *net.UDPConn
}

// inside runs f on a thread of the host's network namespace.
func (h *host) inside(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		if err := netns.Set(h.ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (h *host) iptables(t *testing.T, args ...string) {
	t.Helper()
	h.inside(t, func() error {
		if out, err := exec.Command("iptables-legacy", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("iptables %v: %w: %s", args, err, out)
		}
		return nil
	})
}

// pair makes two hosts that are joined by a cable.
func pair(t *testing.T) (a, b *host) {
	t.Helper()
	unable := func(why string) {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	if os.Geteuid() != 0 {
		unable("needs root for network namespaces")
	}
	if _, err := exec.LookPath("iptables-legacy"); err != nil {
		unable("needs iptables-legacy")
	}
	hosts := [2]*host{}
	for i := range hosts {
		made := make(chan error, 1)
		hosts[i] = &host{}
		go func() {
			runtime.LockOSThread()
			ns, err := netns.New()
			hosts[i].ns = ns
			made <- err
		}()
		if err := <-made; err != nil {
			unable("needs a network namespace: " + err.Error())
		}
		t.Cleanup(func() {
			if err := hosts[i].ns.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	hosts[0].inside(t, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(hosts[1].ns),
		})
	})
	for i, h := range hosts {
		ip := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
		h.inside(t, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			addr, err := netlink.ParseAddr(ip.String() + "/24")
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(link, addr); err != nil {
				return err
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return err
			}
			h.addr = netip.AddrPortFrom(ip, Port)
			h.conn, err = net.ListenUDP("udp", &net.UDPAddr{Port: Port})
			return err
		})
	}
	return hosts[0], hosts[1]
}

// A filter of either direction in either host is what a partition is made of.
func TestProbersSeeAPacketFilter(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	la := start(t, ctx, "a", a.conn, Peer{"b", b.addr})
	lb := start(t, ctx, "b", b.conn, Peer{"a", a.addr})
	changed := func(up bool) func(Line) bool {
		return func(l Line) bool { return l.Kind == Change && l.Up == up }
	}
	next(t, la, changed(true))
	next(t, lb, changed(true))
	for _, rule := range [][]string{
		{"OUTPUT", "-d", b.addr.Addr().String(), "-j", "DROP"}, // sendto(2) fails at once
		{"INPUT", "-s", b.addr.Addr().String(), "-j", "DROP"},
	} {
		before := time.Now()
		a.iptables(t, append([]string{"-A"}, rule...)...)
		after := time.Now()
		for _, lines := range []<-chan Line{la, lb} {
			l := next(t, lines, changed(false))
			if l.At.Before(before.Add(-Silence)) || l.At.After(after.Add(Interval)) {
				t.Errorf("%s: %v: the cut is dated %v, it was made between %v and %v", l.Pod, rule, l.At, before, after)
			}
		}
		before = time.Now()
		a.iptables(t, append([]string{"-D"}, rule...)...)
		for _, lines := range []<-chan Line{la, lb} {
			if l := next(t, lines, changed(true)); l.At.Before(before.Add(-Interval)) {
				t.Errorf("%s: %v: the heal is dated %v, before it was made at %v", l.Pod, rule, l.At, before)
			}
		}
	}
}
