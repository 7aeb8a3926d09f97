package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
)

// Member is a node that discovery knows.
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
}

// Members implements Discoverer. A member whose address cannot be found (yet)
// is left out.
func (d DNS) Members(ctx context.Context) ([]Member, error) {
	_, records, err := d.Resolver.LookupSRV(ctx, "mesh", "udp", d.Service)
	if err != nil {
		return nil, fmt.Errorf("discover peers: %w", err)
	}
	var members []Member
	for _, r := range records {
		name, _, _ := strings.Cut(r.Target, ".")
		addrs, err := d.Resolver.LookupNetIP(ctx, "ip", r.Target)
		if err != nil || len(addrs) == 0 {
			continue
		}
		members = append(members, Member{name, netip.AddrPortFrom(addrs[0].Unmap(), r.Port)})
	}
	return members, nil
}

// Times of discovery.
const (
	lookEvery   = time.Second     // while someone is missing
	lookSettled = 5 * time.Second // while every member is reachable
	lookTimeout = 2 * time.Second
	// forgetAfter is how long an unreachable peer may be absent from discovery
	// before it is no member any more; longer than a pod takes to come back.
	forgetAfter = time.Minute
)

// member is what the node knows of another one.
type member struct {
	seen time.Time // in discovery, or by a handshake
}

// discover looks for members until ctx ends.
func (n *Node) discover(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
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
		others := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Name == n.name })
		if err == nil && len(others) > 0 && int(n.met.Load()) >= len(others) {
			timer.Reset(lookSettled)
		} else {
			timer.Reset(lookEvery)
		}
	}
}

// setMembers connects to the members of a lookup and forgets peers that are
// neither among them nor reachable for long.
func (n *Node) setMembers(now time.Time, members []Member) {
	for _, m := range members {
		if m.Name == n.name || m.Name == "" {
			continue
		}
		n.meet(now, m.Name)
		n.sessions.Connect(session.Peer(m.Name), m.Addr)
	}
	for name, m := range n.members {
		if now.Sub(m.seen) >= forgetAfter && n.detect.Status(name) != detect.Reachable {
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
	n.members[name] = &member{seen: now}
	n.detect.Add(now, name)
	n.metrics.AddPeer(name)
	n.publishReachable()
}

func (n *Node) forget(now time.Time, name string) {
	delete(n.members, name)
	delete(n.proof, name)
	delete(n.weights, name)
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

// publishReachable tells the store whom it can count on.
func (n *Node) publishReachable() {
	reachable, met := []string{}, 0
	early := time.Since(n.started) < greeting
	for _, l := range n.detect.Links() {
		switch {
		case l.Status == detect.Reachable || l.Status == detect.Suspect:
			met++
		case l.Status != detect.Unknown || !early:
			continue
		}
		reachable = append(reachable, l.Peer)
	}
	n.reachable.Store(&reachable)
	n.met.Store(int64(met))
}
