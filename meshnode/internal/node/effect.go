package node

import (
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// effector runs the control loop's actions. Its methods are called by the
// control goroutine, which holds the node's mutex.
type effector struct{ n *Node }

// Start implements mapek.Effector.
func (e effector) Start(a mapek.Action) error {
	n, peer := e.n, session.Peer(a.Peer)
	switch a.Name {
	case metric.ActivateBackupRoutes:
		n.detours[a.Peer] = true
		n.sendRoutes(n.routes.Fail(a.Started, a.Peer))
	case metric.ReverifySessions:
		n.sessions.Reverify(peer)
	case metric.InvalidateSession:
		n.applied[a.Name+a.Peer] = n.session(a.Peer).ID
		return n.sessions.Invalidate(peer, metric.VerificationFailed)
	case metric.RotateKeys:
		n.applied[a.Name+a.Peer] = n.session(a.Peer).ID
		n.sessions.Rotate(peer, metric.ReasonCompromise)
	case metric.ExtendTimeouts:
		n.extend(a.Peer)
	case metric.UpdateRouteWeights:
		n.weigh(a.Peer)
	case metric.ShedLowPriority:
		n.overload.sheds, n.overload.incident = n.sessions.Shed(), a.Incident
		n.sessions.SetShedding(true)
	case metric.YieldSessions:
		n.overload.yields = true
		n.clients.Yield(true)
	case metric.RequestScaleUp:
		n.overload.nodes = n.met.Load()
		n.metrics.ScaleRequests.Inc()
	case metric.BlockPeer:
		return n.sessions.Block(peer, time.Duration(n.cfg.Policy.Block))
	case metric.MigrateSessions:
		return n.clients.Migrate(a.Peer)
	default:
		return fmt.Errorf("action %q is not implemented", a.Name)
	}
	return nil
}

// Done implements mapek.Effector: what counts is the effect.
func (e effector) Done(a mapek.Action) bool {
	n := e.n
	switch a.Name {
	case metric.ActivateBackupRoutes:
		return !n.routes.Uses(a.Peer)
	case metric.ReverifySessions, metric.ExtendTimeouts:
		return n.proof[a.Peer].After(a.Started)
	case metric.UpdateRouteWeights:
		return n.settledRoutes(a.Peer)
	case metric.MigrateSessions:
		return n.clients.Homed(a.Peer) == 0
	case metric.InvalidateSession:
		s := n.session(a.Peer)
		return s.State == session.StateRevoked || s.ID != n.applied[a.Name+a.Peer]
	case metric.RotateKeys:
		s := n.session(a.Peer)
		return s.ID != n.applied[a.Name+a.Peer] && s.ID != frame.SessionID{} && s.State == session.StateVerified
	case metric.ShedLowPriority:
		return n.relieved()
	case metric.YieldSessions:
		return n.clients.Homed(n.name) == 0
	case metric.RequestScaleUp:
		return n.met.Load() > n.overload.nodes || !n.loop.Exhausted()
	case metric.BlockPeer:
		s := n.session(a.Peer).State
		return s == session.StateRevoked || s == session.StateHandshaking
	}
	return false
}

// extend gives the outstanding challenges of a slow peer two more round trips, and at
// least what any peer gets that may be slow: the first round trips of a path that has
// just become slow are not back yet.
func (n *Node) extend(peer string) {
	for _, l := range n.detect.Links() {
		if l.Peer == peer {
			n.sessions.ExtendDeadline(session.Peer(peer), max(2*max(l.RTT, l.Last), benefit))
		}
	}
}

// weigh lets the routes take the latency of a link into account while it is an
// incident. How much follows what is measured: one sample taken at the moment
// in which a link becomes slow says little about how slow it will be.
func (n *Node) weigh(peer string) {
	if n.loop.Slow(peer) {
		n.slow[peer] = true
	} else {
		delete(n.slow, peer)
	}
}

// weighted is a link's quality for the routes: of a slow one less in proportion to
// its latency above what the policy allows.
func (n *Node) weighted(l detect.Link) uint8 {
	limit, rtt := time.Duration(n.cfg.Policy.Latency), max(l.RTT, l.Last)
	if !n.slow[l.Peer] || rtt <= limit {
		return l.Quality
	}
	return max(uint8(float64(limit)/float64(rtt)*float64(l.Quality)), 1)
}

// settledRoutes reports whether the routes agree with a link's latency: no other
// destination is reached through a slow peer, unless there is no other way.
func (n *Node) settledRoutes(peer string) bool {
	if !n.slow[peer] {
		return true
	}
	for _, r := range n.routes.Routes() {
		if r.NextHop == peer && r.Destination != peer && r.Standby != "" {
			return false
		}
	}
	return true
}

// session returns the session with a peer, the zero Info if there is none.
func (n *Node) session(peer string) session.Info {
	for _, s := range n.sessions.Sessions() {
		if string(s.Peer) == peer {
			return s
		}
	}
	return session.Info{}
}
