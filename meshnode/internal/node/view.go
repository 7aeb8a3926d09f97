package node

import (
	"context"
	"errors"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
)

// NotReady returns why the node should get no clients yet; nil if it should.
// Peers play no part: a node without peers still serves.
func (n *Node) NotReady() []string {
	var why []string
	if gate := n.gate.Load(); gate != nil {
		why = append(why, *gate)
	}
	if until := n.cfg.Identity.Credential().Certificate.NotAfter; n.cfg.Identity.Now().After(until) {
		why = append(why, "the mesh certificate expired at "+until.Format(time.RFC3339))
	}
	return why
}

// Unready is what a readiness probe is told: NotReady, that the node is about to leave, or that
// another one is to take its place, although it serves whoever still comes.
func (n *Node) Unready() []string {
	why := n.NotReady()
	if n.storage.replace.Load() {
		why = append(why, "the disk of the store is at fault: replace this node, and its volume")
	}
	if n.Leaving() {
		why = append(why, "the node is leaving")
	}
	return why
}

// Events returns journal entries after number after, at most max.
func (n *Node) Events(after uint64, max int) []event.Entry { return n.journal.After(after, max) }

// Accept stores a record and spreads it on at least as many nodes as copies says; see
// store.Replicator.
func (n *Node) Accept(ctx context.Context, id string, body []byte, copies int) (store.Record, []string, error) {
	r, holders, err := n.records.Accept(ctx, id, body, copies)
	if errors.Is(err, store.ErrQuota) {
		n.metrics.RecordsRefused.Inc()
	}
	n.metrics.Records.Set(float64(n.store.Len()))
	return r, holders, err
}

// Record returns one record.
func (n *Node) Record(id string) (store.Record, error) { return n.records.Get(id) }

// Records describes up to max records after an id, and says whether there are more.
func (n *Node) Records(after string, max int) (page []store.Entry, more bool, err error) {
	return n.store.Entries(after, max)
}

// Status returns the node's view of the mesh.
func (n *Node) Status() api.Status {
	why := n.Unready()
	s := api.Status{
		Node: n.name, Time: n.clock(), Zone: n.cfg.Identity.Zone(), Version: n.cfg.Version, Started: n.started,
		Ready: len(why) == 0, NotReady: why, Verifier: n.cfg.Gate.Mode(), MAPEK: n.cfg.Heal, Records: n.store.Len(),
		Sessions: n.clients.Homes(),
		Peers:    []api.Peer{}, Routes: []api.Route{}, Incidents: []api.Incident{},
	}
	sessions := map[string]session.Info{}
	for _, i := range n.sessions.Sessions() {
		sessions[string(i.Peer)] = i
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s.Isolation = n.health.isolation.status()
	for _, l := range n.detect.Links() {
		p := api.Peer{Name: l.Peer, Status: l.Status.String(), RTTSeconds: l.RTT.Seconds(), Quality: l.Quality, Session: "none"}
		if i, ok := sessions[l.Peer]; ok {
			p.Session = string(i.State)
			if i.ID != (frame.SessionID{}) {
				p.SessionID = i.ID.String()
			}
			if i.Addr.IsValid() {
				p.Address = i.Addr.String()
			}
		}
		s.Peers = append(s.Peers, p)
	}
	for _, r := range n.routes.Routes() {
		s.Routes = append(s.Routes, api.Route{Destination: r.Destination, NextHop: r.NextHop, Quality: r.Quality, Standby: r.Standby})
	}
	for _, r := range n.loop.Past() {
		s.Incidents = append(s.Incidents, api.Incident{ID: r.ID, Type: r.Type, Peers: r.Peers, Opened: r.Opened, Resolved: r.Resolved})
	}
	for _, i := range n.loop.Open() {
		s.Incidents = append(s.Incidents, api.Incident{ID: i.ID, Type: i.Type, Peers: i.Peers(), Opened: i.Opened})
	}
	return s
}

// Knowledge returns what the loop has learned.
func (n *Node) Knowledge() api.Knowledge {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	k := n.loop.Report(now)
	for _, l := range n.detect.Links() {
		k.Weights[l.Peer] = n.weight(now, l)
	}
	return k
}
