package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// failing is an address of a host whose addresses of IPv4 the name server fails to find.
var failing netip.Addr

// nameServer answers SRV, A and AAAA questions as the cluster's DNS does, over UDP on
// loopback, and returns a resolver that asks it.
func nameServer(t *testing.T, srv map[string]uint16, hosts map[string][]netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return // closed
			}
			answer, err := reply(b[:n], srv, hosts)
			if err == nil {
				_, err = conn.WriteTo(answer, from)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func reply(question []byte, srv map[string]uint16, hosts map[string][]netip.Addr) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	q := m.Questions[0]
	head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 5}
	addrs, known := hosts[q.Name.String()]
	switch {
	case q.Type == dnsmessage.TypeSRV && q.Name.String() == "_mesh._udp.mesh-nodes.ns.svc.":
		for target, port := range srv {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.SRVResource{Port: port, Target: dnsmessage.MustNewName(target)}})
		}
	case q.Type == dnsmessage.TypeA && slices.Contains(addrs, failing):
		m.RCode = dnsmessage.RCodeServerFailure
	case known:
		for _, a := range addrs {
			switch {
			case q.Type == dnsmessage.TypeA && a.Is4():
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: a.As4()}})
			case q.Type == dnsmessage.TypeAAAA && a.Is6():
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
			}
		}
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	}
	return m.Pack()
}

func TestDNSFindsPods(t *testing.T) {
	suffix := ".mesh-nodes.ns.svc.cluster.local."
	r := nameServer(t,
		map[string]uint16{"mesh-node-a-0" + suffix: 26970, "mesh-node-b-1" + suffix: 26970, "mesh-node-b-0" + suffix: 26970},
		map[string][]netip.Addr{"mesh-node-a-0" + suffix: {netip.MustParseAddr("10.1.0.1")}, "mesh-node-b-1" + suffix: {netip.MustParseAddr("10.1.0.2")}})
	members, err := DNS{Service: "mesh-nodes.ns.svc.", Resolver: r}.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range members {
		got[m.Name] = m.Addr.String()
	}
	// b-0 has no address yet.
	if len(got) != 3 || got["mesh-node-b-0"] != (netip.AddrPort{}).String() || got["mesh-node-a-0"] != "10.1.0.1:26970" || got["mesh-node-b-1"] != "10.1.0.2:26970" {
		t.Errorf("%v", got)
	}
	if _, err := (DNS{Service: "other.ns.svc.", Resolver: r}).Members(t.Context()); err == nil {
		t.Error("no error for a service that does not exist")
	}
}

// TestDNSChoosesTheFamily: both ends of a pair reach each other by the same family, one
// that both have, whatever the order of the answers.
func TestDNSChoosesTheFamily(t *testing.T) {
	v4, low, v6 := netip.MustParseAddr("10.1.0.9"), netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("fd00::1")
	const host = "x.ns.svc.cluster.local."
	for _, test := range []struct {
		name       string
		ipv4, ipv6 bool
		has        []netip.Addr
		want       netip.Addr
	}{
		{"dual", true, true, []netip.Addr{v6, v4}, v4},
		{"only IPv6 here", false, true, []netip.Addr{v4, v6}, v6},
		{"only IPv4 here", true, false, []netip.Addr{v6, v4}, v4},
		{"only IPv6 there", true, true, []netip.Addr{v6}, v6},
		{"none in common", true, false, []netip.Addr{v6}, netip.Addr{}},
		{"several", true, true, []netip.Addr{v4, low, v6}, low},
		{"nobody says whether there is IPv4", true, true, []netip.Addr{failing, v6}, netip.Addr{}},
		{"IPv4 does not matter", false, true, []netip.Addr{failing, v6}, v6},
	} {
		d := DNS{Resolver: nameServer(t, nil, map[string][]netip.Addr{host: test.has}), Families: func() (bool, bool) { return test.ipv4, test.ipv6 }}
		if got := d.find(t.Context(), host); got != test.want {
			t.Errorf("%s: %v of %v, want %v", test.name, got, test.has, test.want)
		}
	}
	d := DNS{Resolver: nameServer(t, nil, map[string][]netip.Addr{host: {v6}})}
	if got := d.find(t.Context(), host); got != v6 {
		t.Errorf("without a word about families: %v", got)
	}
	if got := d.find(t.Context(), "no."+host); got.IsValid() {
		t.Errorf("a host that there is not: %v", got)
	}
	if ipv4, ipv6 := FamiliesOf("lo")(); ipv4 || ipv6 {
		t.Errorf("loopback reaches nobody, but families are %t and %t", ipv4, ipv6)
	}
	if ipv4, ipv6 := FamiliesOf("no-such-interface")(); !ipv4 || !ipv6 {
		t.Error("without the interface nothing is ruled out")
	}
}

// moving is a Discoverer whose answer changes.
type moving struct{ answers chan answer }

type answer struct {
	members []Member
	err     error
}

func (m *moving) Members(ctx context.Context) ([]Member, error) {
	a := <-m.answers
	m.answers <- a
	return a.members, a.err
}

func (m *moving) set(members []Member, err error) {
	select {
	case <-m.answers:
	default:
	}
	m.answers <- answer{members, err}
}

func TestMembersComeMoveAndGo(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		d := &moving{make(chan answer, 1)}
		d.set(m.all, nil)
		m.discover = d
		m.up()
		defer m.down()
		// A failing lookup changes nothing.
		d.set(nil, errors.New("no route to the name server"))
		time.Sleep(2 * forgetAfter)
		if err := m.whole(); err != nil {
			t.Fatalf("after failing lookups: %v", err)
		}
		// A pod comes back with another address.
		moved := append(Static{}, m.all...)
		moved[4].Addr = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.99"), moved[4].Addr.Port())
		m.stop(zoneNames[4], true)
		m.net.HealAll()
		m.all = moved
		d.set(moved, nil)
		m.start(zoneNames[4])
		m.within(10*time.Second, "whole at the new address", m.whole)
		// Another is scaled away for good: no alarm for ever.
		m.stop(zoneNames[4], true)
		d.set(moved[:4], nil)
		m.within(forgetAfter+10*time.Second, "the lost member forgotten", func() error {
			for name, n := range m.nodes {
				if s := n.Status(); len(s.Peers) != 3 || len(s.Routes) != 3 {
					return fmt.Errorf("%s: %+v", name, s.Peers)
				}
				if open := n.openIncidents(); len(open) > 0 {
					return errors.New(strings.Join(open, ", "))
				}
			}
			return nil
		})
	})
}
