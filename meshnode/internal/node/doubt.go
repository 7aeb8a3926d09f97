package node

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
)

const (
	// doubtFor is how long an echo may take before the whole path to a peer is
	// taken to be slow: within the grace of an overdue challenge
	// (session.Limits.Overdue), and several times a normal round trip.
	doubtFor = 80 * time.Millisecond
	// benefit is how much longer the challenges of such a peer may take: by then
	// the detector has found it lost, which gives them up, or the loop has found
	// the latency, which extends them. Otherwise they are sent again, get as much once
	// more, and time out when the session manager's bound on all of it is reached.
	benefit = time.Second
)

// late decides what becomes of a peer's challenge that has passed its deadline.
// That of a peer whose latency is an incident gets more time, and so does any
// while this node is short of resources, or was just kept from working. With any
// other it is not clear yet whether the challenge was lost or the path has just
// become slow: a heartbeat asks, and resolveDoubts looks at whether it came back.
func (n *Node) late(at time.Time, peer string) {
	switch {
	case !n.cfg.Heal:
	case n.loop.Slow(peer) || n.loop.Exhausted():
		n.extend(peer)
	case n.overload.stalled(at):
		n.sessions.ExtendDeadline(session.Peer(peer), benefit)
	default:
		if _, asked := n.doubts[peer]; !asked {
			n.doubts[peer] = at
			n.send(n.detect.Ask(at, peer))
		}
	}
}

// resolveDoubts gives time to the challenges of peers whose echoes fail to come,
// too. If one came, the path is as it was: the challenge is sent again, for it was
// lost or its answer was, and times out if that does not help.
func (n *Node) resolveDoubts(now time.Time) {
	for peer, since := range n.doubts {
		switch {
		case n.detect.Echoed(peer, since):
			n.sessions.Repeat(session.Peer(peer), benefit)
		case now.Sub(since) < doubtFor:
			continue
		default:
			n.sessions.ExtendDeadline(session.Peer(peer), benefit)
		}
		delete(n.doubts, peer)
	}
}
