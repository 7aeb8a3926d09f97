package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/internal/home"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
)

// publishView tells the client sessions what the mesh looks like. A peer counts
// as live while data reaches it. Members that are no neighbours are never live,
// but they count where a majority is asked for.
func (n *Node) publishView() {
	verified := n.verified()
	v := home.View{Known: n.listed != nil, Members: slices.Clone(n.listed), RTT: map[string]time.Duration{}}
	for _, l := range n.detect.Links() {
		if !slices.Contains(v.Members, l.Peer) {
			v.Members = append(v.Members, l.Peer)
		}
		if verified[l.Peer] && (l.Status == detect.Reachable || l.Status == detect.Suspect) {
			v.Live = append(v.Live, l.Peer)
			v.RTT[l.Peer] = min(l.RTT, l.Last) // the newest is right soon after a stall
		}
		if !verified[l.Peer] && l.Status == detect.Unknown {
			v.Absent = append(v.Absent, l.Peer)
		}
	}
	n.clients.SetView(v)
}

// verified returns the peers whose sessions are verified now.
func (n *Node) verified() map[string]bool {
	verified := map[string]bool{}
	for _, s := range n.sessions.Sessions() {
		verified[string(s.Peer)] = s.State == session.StateVerified
	}
	return verified
}

// CreateSession makes a client session; see package home for what this and the
// following promise.
func (n *Node) CreateSession(ctx context.Context, body []byte) (home.Session, error) {
	return n.clients.Create(ctx, body)
}

// Session reads a client session.
func (n *Node) Session(ctx context.Context, id string) (home.Session, error) {
	return n.clients.Get(ctx, id)
}

// UpdateSession replaces the state of a client session if it has version match;
// nil: whatever it has.
func (n *Node) UpdateSession(ctx context.Context, id string, match *uint64, body []byte) (home.Session, error) {
	return n.clients.Update(ctx, id, match, body)
}

// Name returns the node's name.
func (n *Node) Name() string { return n.name }

// Leave makes the node not ready. It goes on to serve: clients need time to
// learn of it.
func (n *Node) Leave() { n.leaving.Store(true) }

// Leaving reports whether Leave was called.
func (n *Node) Leaving() bool { return n.leaving.Load() }

// Drain hands over what only this node can: client sessions and records that no
// other node holds yet. It returns when all is handed over, when there is nobody
// to take it, or with an error when ctx ends.
func (n *Node) Drain(ctx context.Context) error {
	return errors.Join(n.clients.Handover(ctx), n.records.Drain(ctx))
}
