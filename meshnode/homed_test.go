package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// TestRealSocketIsGuarded: a node has addresses on other interfaces than the one that
// the verifier guards. Nothing listens there: the mesh's socket is reached through the
// verifier only.
func TestRealSocketIsGuarded(t *testing.T) {
	c := newCluster(t, "a-0", "a-1")
	p := c.procs["a-0"]
	c.ip("-n", c.hub, "link", "add", "second", "type", "veth", "peer", "name", "eth1", "netns", p.ns)
	c.ip("-n", c.hub, "addr", "add", "10.98.0.254/24", "dev", "second")
	c.ip("-n", c.hub, "link", "set", "second", "up")
	c.ip("-n", p.ns, "addr", "add", "10.98.0.1/24", "dev", "eth1")
	c.ip("-n", p.ns, "link", "set", "eth1", "up")
	for _, n := range c.names {
		c.start(n)
	}
	c.within(20*time.Second, "every pair verified", c.whole)

	handshake := make([]byte, frame.HeaderLen)
	(&frame.Header{Type: frame.HandshakeInit, Fragments: 1}).Put(handshake, frame.Key{})
	// knock sends a datagram and reports whether the port is closed, as ICMP then says.
	knock := func(ns, address string) (closed bool) {
		t.Helper()
		if err := inNamespace(ns, func() (err error) {
			conn, err := net.Dial("udp", net.JoinHostPort(address, strconv.Itoa(frame.Port)))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, conn.Close()) }()
			if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
				return err
			}
			if _, err := conn.Write(handshake); err != nil {
				return err
			}
			_, err = conn.Read(make([]byte, 1))
			closed = errors.Is(err, syscall.ECONNREFUSED)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return closed
	}
	if knock(c.hub, p.ip) {
		t.Fatal("the port is closed at eth0, too: the test proves nothing")
	}
	for _, way := range []struct{ what, ns, address string }{
		{"eth1", c.hub, "10.98.0.1"}, {"eth1, for eth0's address", c.hub, "10.97.0.1"}, {"loopback", p.ns, "127.0.0.1"},
	} {
		if way.address == "10.97.0.1" {
			c.ip("-n", p.ns, "addr", "add", "10.97.0.1/32", "dev", "eth0")
			c.ip("-n", c.hub, "route", "add", "10.97.0.1/32", "via", "10.98.0.1")
		}
		if !knock(way.ns, way.address) {
			t.Errorf("the socket can be reached by %s, which nothing guards", way.what)
		}
	}
	// What the node's host sends to eth0's own address goes by loopback, too.
	before := c.dropped("a-0")
	knock(p.ns, p.ip)
	if after := c.dropped("a-0"); after != before+1 {
		t.Errorf("the socket dropped %d datagrams before and %d after one that came by loopback for eth0's address", before, after)
	}
	if err := c.whole(); err != nil {
		t.Error(err)
	}
}

// dropped is how many datagrams the mesh's socket of a node has dropped.
func (c *cluster) dropped(name string) (count int) {
	c.t.Helper()
	if err := inNamespace(c.procs[name].ns, func() error {
		b, err := os.ReadFile("/proc/thread-self/net/udp6")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if strings.HasSuffix(f[1], fmt.Sprintf(":%04X", frame.Port)) {
				count, err = strconv.Atoi(f[len(f)-1])
				return err
			}
		}
		return errors.New("the socket is not listed")
	}); err != nil {
		c.t.Fatal(err)
	}
	return count
}

// TestRealSocketFollowsItsInterface: where another interface has come in the place of the old
// one the socket is bound to that, and until it can be it says why not, every time.
func TestRealSocketFollowsItsInterface(t *testing.T) {
	c := newCluster(t, "a-0")
	p := c.procs["a-0"]
	var conn *transport.UDP
	if err := inNamespace(p.ns, func() (err error) {
		conn, err = transport.ListenUDP(netip.AddrPortFrom(netip.MustParseAddr(p.ip), frame.Port), "eth0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rebind := func() error { return inNamespace(p.ns, conn.Rebind) }
	if err := errors.Join(rebind(), conn.Bound()); err != nil {
		t.Fatalf("nothing has changed: %v", err)
	}
	c.ip("-n", p.ns, "link", "del", "eth0")
	c.ip("-n", c.hub, "link", "add", "again", "type", "veth", "peer", "name", "eth0", "netns", p.ns)
	c.ip("-n", p.ns, "link", "set", "eth0", "up")
	for range 2 { // it has no address yet
		if rebind() == nil || conn.Bound() == nil {
			t.Error("the socket is said to be bound to an interface that does not have its address")
		}
	}
	c.ip("-n", p.ns, "addr", "add", p.ip+"/24", "dev", "eth0")
	if err := errors.Join(rebind(), conn.Bound()); err != nil {
		t.Errorf("with its address: %v", err)
	}
}
