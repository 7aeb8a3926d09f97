package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/route"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
)

// Member is a node that discovery knows. The address may be missing: it is
// needed only if the node is a neighbour.
type Member struct {
	Name string
	Addr netip.AddrPort
}

// Discoverer finds the members of the mesh; this node may be among them.
type Discoverer interface {
	Members(ctx context.Context) ([]Member, error)
}

// Static is a Discoverer that always finds the same members.
type Static []Member

// Members implements Discoverer.
func (s Static) Members(context.Context) ([]Member, error) { return s, nil }

// DNS finds the members behind a headless Kubernetes Service by the SRV records
// of its port "mesh". A target's first label is the name of its pod, and so of
// the node.
type DNS struct {
	Service  string // for instance mesh-nodes.NAMESPACE.svc
	Resolver *net.Resolver
	Self     string // this node: only the addresses of its neighbours are looked up
	// Families reports whether this node has addresses of IPv4 and of IPv6 to reach
	// others from; nil: of both.
	Families func() (ipv4, ipv6 bool)
}

// Members implements Discoverer. A member whose address cannot be found (yet)
// has none.
func (d DNS) Members(ctx context.Context) ([]Member, error) {
	_, records, err := d.Resolver.LookupSRV(ctx, "mesh", "udp", d.Service)
	if err != nil {
		return nil, fmt.Errorf("discover peers: %w", err)
	}
	members := make([]Member, len(records))
	for i, r := range records {
		members[i].Name, _, _ = strings.Cut(r.Target, ".")
	}
	neighbours := route.Neighbours(d.Self, names(members))
	for i, r := range records {
		if !slices.Contains(neighbours, members[i].Name) {
			continue
		}
		if addr := d.find(ctx, r.Target); addr.IsValid() {
			members[i].Addr = netip.AddrPortFrom(addr, r.Port)
		}
	}
	return members, nil
}

// find looks up the address to reach a member at: of a family that this node has, too, and
// of IPv4 before IPv6, so that both ends of a pair choose the same family. It is not valid if
// there is none, or if nobody says whether there is one of IPv4.
func (d DNS) find(ctx context.Context, host string) netip.Addr {
	ipv4, ipv6 := true, true
	if d.Families != nil {
		ipv4, ipv6 = d.Families()
	}
	for _, family := range []struct {
		network string
		here    bool
	}{{"ip4", ipv4}, {"ip6", ipv6}} {
		if !family.here {
			continue
		}
		addrs, err := d.Resolver.LookupNetIP(ctx, family.network, host)
		if len(addrs) > 0 {
			return slices.MinFunc(addrs, netip.Addr.Compare).Unmap()
		}
		if none, ok := errors.AsType[*net.DNSError](err); !ok || !none.IsNotFound {
			break
		}
	}
	return netip.Addr{}
}

// FamiliesOf returns a function for DNS that looks at an interface's global addresses. If
// they cannot be read it takes both families for usable.
func FamiliesOf(iface string) func() (ipv4, ipv6 bool) {
	return func() (ipv4, ipv6 bool) {
		found, err := net.InterfaceByName(iface)
		if err != nil {
			return true, true
		}
		addrs, err := found.Addrs()
		if err != nil {
			return true, true
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil || !prefix.Addr().IsGlobalUnicast() {
				continue
			}
			ipv4 = ipv4 || prefix.Addr().Is4()
			ipv6 = ipv6 || prefix.Addr().Is6()
		}
		return ipv4, ipv6
	}
}

// ParsePeers reads where a node, which reaches others by an interface, finds them: the
// name of a headless service, or a list NAME=IP:PORT,….
func ParsePeers(peers, self, iface string) (Discoverer, error) {
	if !strings.Contains(peers, "=") {
		return DNS{Service: peers, Resolver: &net.Resolver{PreferGo: true}, Self: self, Families: FamiliesOf(iface)}, nil
	}
	var s Static
	for _, p := range strings.Split(peers, ",") {
		name, addr, ok := strings.Cut(p, "=")
		a, err := netip.ParseAddrPort(addr)
		if !ok || name == "" || err != nil {
			return nil, fmt.Errorf("%q is not NAME=IP:PORT", p)
		}
		s = append(s, Member{Name: name, Addr: a})
	}
	return s, nil
}

func names(members []Member) []string {
	names := make([]string, 0, len(members))
	for _, m := range members {
		if m.Name != "" {
			names = append(names, m.Name)
		}
	}
	return names
}

// Times of discovery.
const (
	lookEvery   = time.Second     // while someone is missing
	lookSettled = 5 * time.Second // while every member is reachable
	lookTimeout = 2 * time.Second
	// forgetAfter is how long an unreachable peer may be absent from discovery
	// before it is no member any more: longer than a pod takes to come back, and short enough
	// for its incidents to be over within a minute.
	forgetAfter = 45 * time.Second
	// releaseAfter is how long a peer is kept that is a neighbour no more: it may
	// not have heard yet of who came or went.
	releaseAfter = 15 * time.Second
)

// member is what the node knows of another one.
type member struct {
	seen   time.Time // in discovery, or by a handshake
	wanted time.Time // as a neighbour, or met
}

// discover looks for members until ctx ends.
func (n *Node) discover(ctx context.Context) {
	failed := false
	for {
		look, cancel := context.WithTimeout(ctx, lookTimeout)
		members, err := n.cfg.Discover.Members(look)
		cancel()
		switch {
		case err == nil:
			failed = false
			if members == nil {
				members = []Member{}
			}
			n.in.mu.Lock()
			n.in.members = members
			n.in.mu.Unlock()
			n.in.signal()
		case ctx.Err() == nil && !failed:
			failed = true
			n.log.Warn("discovery failed; known peers are kept", "error", err)
		}
		wanted := route.Neighbours(n.name, names(members))
		pause := lookEvery
		if err == nil && len(wanted) > 0 && int(n.met.Load()) >= len(wanted) {
			pause = lookSettled
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// setMembers connects to the neighbours among the members of a lookup. It
// forgets peers that are neither members nor reachable for long, and takes leave
// of those that are members and no neighbours.
func (n *Node) setMembers(now time.Time, members []Member) {
	listed := names(members)
	n.listed = slices.DeleteFunc(slices.Clone(listed), func(name string) bool { return name == n.name })
	wanted := route.Neighbours(n.name, listed)
	for _, m := range members {
		if !m.Addr.IsValid() || !slices.Contains(wanted, m.Name) {
			continue
		}
		n.meet(now, m.Name)
		n.members[m.Name].wanted = now
		n.sessions.Connect(session.Peer(m.Name), m.Addr)
	}
	for name, m := range n.members {
		switch {
		case now.Sub(m.seen) >= forgetAfter && n.detect.Status(name) != detect.Reachable:
			n.forget(now, name)
		case now.Sub(m.wanted) >= releaseAfter && slices.Contains(listed, name) && !slices.Contains(wanted, name):
			n.send(detect.Output{Send: n.detect.Farewell(name)})
			n.forget(now, name)
		}
	}
}

// meet makes a peer known.
func (n *Node) meet(now time.Time, name string) {
	if m := n.members[name]; m != nil {
		m.seen = now
		return
	}
	n.members[name] = &member{seen: now, wanted: now}
	n.detect.Add(now, name)
	n.metrics.AddPeer(name)
	n.publishReachable()
}

func (n *Node) forget(now time.Time, name string) {
	delete(n.members, name)
	delete(n.proof, name)
	delete(n.slow, name)
	delete(n.patient, name)
	delete(n.detours, name)
	delete(n.silent, name)
	delete(n.doubts, name)
	delete(n.clocks.wrong, name)
	delete(n.health.unmet, name)
	n.refusals.forget(name)
	n.detect.Remove(name)
	n.sessions.Forget(session.Peer(name))
	n.sendRoutes(n.routes.Forget(now, name))
	n.metrics.RemovePeer(name)
	n.signals = append(n.signals, mapek.Signal{Kind: mapek.Gone, Peer: name, Time: now})
	n.publishReachable()
}

// greeting is the time after the start in which members that were not met yet
// count as reachable: a node that has just come back must not accept records
// alone only because it has not looked around yet.
const greeting = 3 * time.Second

// publishReachable tells the store and the client sessions whom they can count
// on: peers that are heard, and those that a relay reaches. A peer that is verified and
// has not left counts, too, although the detector has not met it: whoever has such a peer
// is not alone, and accepts nothing alone.
func (n *Node) publishReachable() {
	reachable, met := []string{}, 0
	early := time.Since(n.started) < greeting
	verified := n.verified()
	for _, l := range n.detect.Links() {
		switch {
		case l.Status == detect.Reachable || l.Status == detect.Suspect:
			met++
		case l.Status == detect.Unreachable && n.byRelay(l.Peer):
		case l.Status == detect.Unknown && (early || verified[l.Peer] && !l.Left):
		default:
			continue
		}
		reachable = append(reachable, l.Peer)
	}
	n.reachable.Store(&reachable)
	n.met.Store(int64(met))
	n.publishView()
}
