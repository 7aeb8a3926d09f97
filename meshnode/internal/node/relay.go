package node

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
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

const (
	// muteAfter is how long after it was last heard nothing of a peer has come by relay when
	// those that claim to hear it are not believed: several times what a relay takes to
	// come into use, and the attestations of a second. Once something has come it is twice as
	// long: a relay that is lost has to be replaced.
	muteAfter = 4 * time.Second
	// unprovenAfter is how long a peer may go without an attestation when it counts as mute
	// whatever comes: a relay can keep frames back, and bring them when their sender is dead.
	// It is more than the longest wait between two challenges.
	unprovenAfter = 10 * muteAfter
)

// silence is of a peer that is lost.
type silence struct {
	since time.Time     // last heard
	came  time.Time     // the last frame by relay; zero: none yet
	gap   time.Duration // the longest between two of them
}

// judgeMute tells the loop of peers that no relay brings anything of, or nothing more. In a
// partition the relay, too, may be on the other side.
func (n *Node) judgeMute(now time.Time) {
	if n.loop.Parted() {
		return
	}
	for peer, s := range n.silent {
		since, limit, proven := s.since, muteAfter, s.since
		if !s.came.IsZero() {
			since, limit = s.came, 2*muteAfter
		}
		if p := n.proof[peer]; p.After(proven) {
			proven = p
		}
		mute := now.Sub(since) >= limit || now.Sub(proven) >= unprovenAfter
		// Where this node was kept from working, what has come may wait here.
		waits := !s.came.IsZero() && n.overload.stalled(now)
		if n.cfg.Heal && mute && !waits && n.loop.Witnessed(peer) {
			n.signals = append(n.signals, mapek.Signal{Kind: mapek.Mute, Peer: peer, Time: now, Since: since})
		}
	}
}

// relayed notes a frame that comes through a relay after the link to a peer was lost. It
// writes down the first one, and how long there was none. Challenges of before may have been lost
// on a way that led nowhere yet, so that a session in doubt gets one more.
func (n *Node) relayed(peer string, at time.Time) {
	s := n.silent[peer]
	if s == nil {
		return
	}
	first, gap := s.came.IsZero(), at.Sub(s.came)
	if s.came = at; !first {
		if gap > s.gap {
			s.gap = gap
			n.metrics.RelayGap.WithLabelValues(peer).Set(gap.Seconds())
		}
		return
	}
	n.metrics.RelayGap.WithLabelValues(peer).Set(0)
	if n.cfg.Heal && n.session(peer).State == session.StateUnverified {
		n.sessions.Reverify(session.Peer(peer))
	}
	n.journal.Append(event.Entry{Phase: event.Monitor, Kind: event.PeerRelayed, Subject: peer, Detail: map[string]string{
		event.DetailSeconds: strconv.FormatFloat(at.Sub(s.since).Seconds(), 'f', 6, 64),
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
		n.strand(*n.relays.next.Swap(&next), next)
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

// strand suspends the sessions with lost peers that a relay reached and none does any more: this
// node counts on them no longer, and what was verified would count for some seconds. With the
// next way they are challenged at once.
func (n *Node) strand(before, next map[session.Peer]session.Peer) {
	for peer, by := range before {
		if _, way := next[peer]; way || by == peer || n.detect.Status(string(peer)) != detect.Unreachable {
			continue
		}
		n.sessions.Suspend(peer)
		if n.cfg.Heal {
			n.detours[string(peer)] = true
		}
	}
}

// byRelay reports whether frames for a peer go by relay.
func (n *Node) byRelay(peer string) bool {
	next, ok := n.relays.Next(session.Peer(peer))
	return ok && next != session.Peer(peer)
}
