package node

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// relays tells the session manager the ways to peers, as the control goroutine
// last published them, and counts.
type relays struct {
	n    *Node
	next atomic.Pointer[map[session.Peer]session.Peer] // by destination
}

// Next implements session.Relays. Without a healthy gate nothing is relayed.
func (r *relays) Next(p session.Peer) (session.Peer, bool) {
	if r.n.gate.Load() != nil {
		return "", false
	}
	next, ok := (*r.next.Load())[p]
	return next, ok
}

// Forwarded implements session.Relays.
func (r *relays) Forwarded() { r.n.metrics.FramesRelayed.Inc() }

// Arrived implements session.Relays.
func (r *relays) Arrived(p session.Peer) {
	r.n.metrics.FramesByRelay.WithLabelValues(string(p)).Inc()
	r.n.onEvent(session.Event{Kind: session.Relayed, Peer: p})
}

// muteAfter is how long after it was last heard nothing of a peer has come by relay when
// those that claim to hear it are not believed: several times what a relay takes to
// come into use, and the attestations of a second.
const muteAfter = 4 * time.Second

// judgeMute tells the loop of peers that no relay brings anything of, although this node
// goes by relay for them.
func (n *Node) judgeMute(now time.Time) {
	for peer, heard := range n.silent {
		if n.cfg.Heal && now.Sub(heard) >= muteAfter && n.loop.Witnessed(peer) {
			n.signals = append(n.signals, mapek.Signal{Kind: mapek.Mute, Peer: peer, Time: now, Since: heard})
		}
	}
}

// relayed writes down the first frame that comes through a relay after the link
// to a peer was lost, and how long there was none. Challenges of before may have been lost
// on a way that led nowhere yet, so that a session in doubt gets one more.
func (n *Node) relayed(peer string, at time.Time) {
	since, lost := n.silent[peer]
	if !lost {
		return
	}
	delete(n.silent, peer)
	if n.cfg.Heal && n.session(peer).State == session.StateUnverified {
		n.sessions.Reverify(session.Peer(peer))
	}
	n.journal.Append(event.Entry{Phase: event.Monitor, Kind: event.PeerRelayed, Subject: peer, Detail: map[string]string{
		event.DetailSeconds: strconv.FormatFloat(at.Sub(since).Seconds(), 'f', 6, 64),
	}})
}

// Refused implements session.Relays.
func (r *relays) Refused(neighbour session.Peer, reason string) {
	r.n.metrics.RelayRefused.WithLabelValues(reason).Inc()
	switch reason {
	case metric.RefusedReplay:
		r.n.metrics.Anomalies.WithLabelValues(metric.ReplayAttack).Inc()
	case metric.RefusedMalformed:
		r.n.refuse(string(neighbour), metric.MessageRelay, errMalformedRelay)
	case metric.RefusedTampered, metric.RefusedBadTag:
		r.n.log.Warn("a relayed frame was changed on its way", "neighbour", neighbour, "reason", reason)
	}
}

// publishWays publishes the ways when routes have changed, and only then tells
// the neighbours: one that hears of a way may send the next frame by it. A peer
// that was lost and that the loop has given another way is challenged at once.
func (n *Node) publishWays() {
	if n.rerouted {
		next := make(map[session.Peer]session.Peer)
		for _, r := range n.routes.Routes() {
			next[session.Peer(r.Destination)] = session.Peer(r.NextHop)
		}
		n.relays.next.Store(&next)
	}
	for _, m := range n.announced {
		n.transmit(m.To, frame.Routing, m.Payload)
	}
	n.announced = n.announced[:0]
	if !n.rerouted {
		return
	}
	n.rerouted = false
	for peer := range n.detours {
		if n.byRelay(peer) {
			delete(n.detours, peer)
			n.sessions.Reverify(session.Peer(peer))
		}
	}
	n.publishReachable()
}

// byRelay reports whether frames for a peer go by relay.
func (n *Node) byRelay(peer string) bool {
	next, ok := n.relays.Next(session.Peer(peer))
	return ok && next != session.Peer(peer)
}
