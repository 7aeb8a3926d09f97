package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// newRouted makes two nodes with a router between them. The links have the MTU near, but
// for the router's to the second node, which has far. The router sends no ICMP, so that
// what does not fit is lost without a word. The nodes know each other by their
// addresses of IPv6 or IPv4; certificates and this test go by IPv4.
func newRouted(t *testing.T, near, far int, ipv6 bool) *cluster {
	needRoot(t)
	c := &cluster{t: t, dir: t.TempDir(), hub: fmt.Sprintf("mesh%d-hub", os.Getpid()), names: []string{"a-0", "b-0"}, procs: map[string]*process{}}
	c.ip("netns", "add", c.hub)
	t.Cleanup(func() { c.ip("netns", "del", c.hub) })
	c.ip("-n", c.hub, "link", "set", "lo", "up")
	c.ip("-n", c.hub, "addr", "add", hubIP+"/32", "dev", "lo")
	for i, name := range c.names {
		p := &process{ip: fmt.Sprintf("10.99.%d.1", i+1), port: fmt.Sprintf("p%d", i), ns: fmt.Sprintf("mesh%d-%d", os.Getpid(), i)}
		p.mesh = netip.MustParseAddr(p.ip)
		if ipv6 {
			p.mesh = netip.MustParseAddr(fmt.Sprintf("fd99:%d::1", i+1))
		}
		c.procs[name] = p
		c.ip("netns", "add", p.ns)
		t.Cleanup(func() { c.ip("netns", "del", p.ns) })
		mtu := []int{near, far}[i]
		c.ip("-n", c.hub, "link", "add", p.port, "mtu", strconv.Itoa(mtu), "type", "veth", "peer", "name", "eth0", "mtu", strconv.Itoa(near), "netns", p.ns)
		for _, end := range []struct{ ns, dev, host string }{{c.hub, p.port, "254"}, {p.ns, "eth0", "1"}} {
			c.ip("-n", end.ns, "addr", "add", fmt.Sprintf("10.99.%d.%s/24", i+1, end.host), "dev", end.dev)
			c.ip("-n", end.ns, "addr", "add", fmt.Sprintf("fd99:%d::%s/64", i+1, end.host), "dev", end.dev, "nodad")
			c.ip("-n", end.ns, "link", "set", end.dev, "up")
		}
		c.ip("-n", p.ns, "link", "set", "lo", "up")
		c.ip("-n", p.ns, "route", "add", "default", "via", fmt.Sprintf("10.99.%d.254", i+1))
		c.ip("-n", p.ns, "-6", "route", "add", "default", "via", fmt.Sprintf("fd99:%d::254", i+1))
	}
	if err := c.inHub(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0), os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	}); err != nil {
		t.Fatal(err)
	}
	c.ip("-n", c.hub, "rule", "add", "iif", "lo", "ipproto", "icmp", "blackhole")
	c.ip("-n", c.hub, "-6", "rule", "add", "iif", "lo", "ipproto", "ipv6-icmp", "blackhole")
	c.authority()
	return c
}

// fragments is how many fragments the kernel has made in a namespace, of both families.
func (c *cluster) fragments(ns string) (made int) {
	c.t.Helper()
	if err := inNamespace(ns, func() error {
		v4, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		v6, err := os.ReadFile("/proc/thread-self/net/snmp6")
		if err != nil {
			return err
		}
		lines := strings.Split(string(v4), "\n")
		for i, name := range strings.Fields(lines[0]) {
			if name == "FragCreates" {
				made, err = strconv.Atoi(strings.Fields(lines[1])[i])
			}
		}
		m := regexp.MustCompile(`Ip6FragCreates\s+(\d+)`).FindSubmatch(v6)
		if m == nil {
			return errors.New("snmp6 has no Ip6FragCreates")
		}
		n, err6 := strconv.Atoi(string(m[1]))
		made += n
		return errors.Join(err, err6)
	}); err != nil {
		c.t.Fatal(err)
	}
	return made
}

// TestRealPathMTU: real nodes on links of any size make a session, carry the largest
// record, and find out what their path carries, although a link further on is narrower
// and the router says nothing. Nothing is ever fragmented, so that the verifier has
// nothing to drop. Which sizes are found takes a while, for sizes that do not pass take three
// seconds each: MESH_TEST_LONG waits for it, and goes through all sizes.
func TestRealPathMTU(t *testing.T) {
	long := os.Getenv("MESH_TEST_LONG") != ""
	type path struct{ near, far int }
	paths := []path{{1500, 1450}}
	if long {
		paths = []path{{1280, 1280}, {1420, 1280}, {1420, 1420}, {1450, 1420}, {1450, 1450}, {1500, 1450}, {1500, 1500}, {9000, 1500}, {9000, 1420}, {9000, 9000}}
	}
	for _, ipv6 := range []bool{false, true} {
		for _, p := range paths {
			t.Run(fmt.Sprintf("%d over %d IPv6 %t", p.near, p.far, ipv6), func(t *testing.T) {
				c := newRouted(t, p.near, p.far, ipv6)
				for _, n := range c.names {
					c.start(n)
				}
				c.within(30*time.Second, "the pair verified", c.whole)
				body := strings.Repeat("x", api.MaxBody)
				code, said, err := c.request(http.MethodPut, "a-0", api.RecordsPath+"/large?copies=2", body)
				if err != nil || code != http.StatusCreated {
					t.Errorf("PUT of the largest record: %d %s %v", code, said, err)
				}
				found := func(at int) func() error {
					return func() error {
						return c.each(func(name string) error {
							got, err := c.metric(name, metric.PathMTU, nil)
							most := p.far
							if name == "b-0" {
								most += vethSlack
							}
							if err == nil && (int(got) > most || int(got) < at) {
								err = fmt.Errorf("path MTU %v of %d", got, most)
							}
							return err
						})
					}
				}
				// More than is known before any probe. The largest is given up after three seconds.
				limit, want := 30*time.Second, 1281
				if long {
					limit, want = 60*time.Second, min(p.far, largestPacket(ipv6))-8
				}
				took := c.within(limit, "the path's MTU", found(want))
				t.Logf("known %v after the session", took.Round(time.Millisecond))
				if err := c.whole(); err != nil {
					t.Error(err)
				}
				for _, ns := range []string{c.hub, c.procs["a-0"].ns, c.procs["b-0"].ns} {
					if n := c.fragments(ns); n != 0 {
						t.Errorf("%d fragments were made in %s", n, ns)
					}
				}
				for _, n := range c.names {
					if v, err := c.metric(n, metric.MalformedTotal, nil); err != nil || v != 0 {
						t.Errorf("%s: %v malformed packets, %v", n, v, err)
					}
					// The router was silent: the kernel has learned of no path MTU.
					out, err := exec.Command("ip", "-n", c.procs[n].ns, "route", "get", c.procs[other(n)].mesh.String()).CombinedOutput()
					if err != nil || strings.Contains(string(out), "mtu") {
						t.Errorf("%s: %v: the kernel has heard of the path's MTU: %s", n, err, out)
					}
				}
			})
		}
	}
}

// vethSlack is by how many bytes a packet may be larger than the MTU of the veth device by which
// it comes in: a VLAN tag's. So the second node's way to the first carries as much more.
const vethSlack = 4

// largestPacket is the size of the IP packet of the largest frame.
func largestPacket(ipv6 bool) int {
	addr := netip.IPv4Unspecified()
	if ipv6 {
		addr = netip.IPv6Unspecified()
	}
	return frame.HeaderLen + frame.MaxPayload + transport.Overhead(addr)
}

func other(name string) string {
	if name == "a-0" {
		return "b-0"
	}
	return "a-0"
}
