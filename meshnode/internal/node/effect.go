package node

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
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
		if !mutant.NeverReverify {
			n.sessions.Reverify(peer)
		}
	case metric.InvalidateSession:
		if mutant.InvalidateWrongSession {
			all := n.sessions.Sessions()
			peer = all[slices.IndexFunc(all, func(s session.Info) bool { return s.Peer != peer })].Peer
		}
		s := n.session(a.Peer)
		n.applied[a.Name+a.Peer] = s.ID
		if replaced(a, s) {
			n.sessions.Retire(peer)
			return nil
		}
		if s.State != session.StateRevoked {
			n.send(n.detect.Pause(a.Started, a.Peer))
		}
		return n.sessions.Invalidate(peer, metric.VerificationFailed)
	case metric.RotateKeys:
		n.applied[a.Name+a.Peer] = n.session(a.Peer).ID
		n.sessions.Rotate(peer, metric.ReasonCompromise)
	case metric.ExtendTimeouts:
		n.patient[a.Peer] = true
		n.sessions.Allow(peer, n.extend(a.Peer))
	case metric.UpdateRouteWeights:
		n.weigh(a.Peer)
	case metric.ShedLowPriority:
		if mutant.RecoverByRestart {
			panic("restart")
		}
		n.overload.sheds, n.overload.incident = n.sessions.Shed(), a.Incident
		n.sessions.SetShedding(true)
	case metric.YieldSessions:
		n.overload.yields = true
		n.clients.Yield(true)
	case metric.RequestScaleUp:
		n.overload.nodes = n.met.Load()
		if !mutant.AskForNothing {
			n.metrics.ScaleRequests.Inc()
		}
	case metric.BlockPeer:
		return n.sessions.Block(peer, time.Duration(n.cfg.Policy.Block))
	case metric.MigrateSessions:
		return n.clients.Migrate(a.Peer)
	case metric.StopWrites:
		n.store.Refuse(errDisk)
	case metric.RecoverStore:
		n.storage.recovers.Store(true)
	case metric.RequestReplacement:
		n.storage.replace.Store(true)
	case metric.CorrectClock:
		n.clocks.correct = true
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
		return s.State == session.StateRevoked || s.ID != n.applied[a.Name+a.Peer] || replaced(a, s)
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
	case metric.StopWrites:
		return n.store.Refusing()
	case metric.RecoverStore, metric.RequestReplacement: // with the latter, by whoever takes this one's place
		return n.storage.kind == ""
	case metric.CorrectClock:
		return n.anchor.Load() != nil
	}
	return false
}

// replaced reports whether the session that an action is about has given way to another
// one, which is not to pay for it.
func replaced(a mapek.Action, s session.Info) bool {
	return a.Session != "" && s.ID.String() != a.Session && s.State != session.StateRevoked
}

// pauseFor is how long peers are not expected to be heard after a session was
// invalidated: until the policy takes the attack to be over and new keys can have been
// made, and no longer than silence is worth.
func pauseFor(p *mapek.Policy) time.Duration {
	const handshake, longest = time.Second, 5 * time.Second
	return min(time.Duration(p.Quiet)+handshake, longest)
}

// extend gives the outstanding challenges of a slow peer two more round trips, and at
// least what any peer gets that may be slow: the first round trips of a path that has
// just become slow are not back yet. It returns how much that is.
func (n *Node) extend(peer string) time.Duration {
	by := benefit
	for _, l := range n.detect.Links() {
		if l.Peer == peer {
			by = max(by, 2*max(l.RTT, l.Last))
		}
	}
	n.sessions.ExtendDeadline(session.Peer(peer), by)
	return by
}

// endPatience ends what extend_timeouts began for peers that are not slow any more.
func (n *Node) endPatience() {
	for peer := range n.patient {
		if !n.loop.Slow(peer) {
			delete(n.patient, peer)
			n.sessions.Allow(session.Peer(peer), 0)
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

// distrust is what a link without any trust would cost of its quality. What half of it
// costs is less than what a second hop does beyond the routes' hysteresis: a link that is
// back carries its own peer's frames again at once. But of several relays that one is
// taken whose link was not lost lately, and routes do not come and go with a link that
// does.
const distrust = 0.04

// weight is the preference of routes for a link, 0 to 1: what it is trusted with after
// it was lost, and of a slow one less.
func (n *Node) weight(now time.Time, l detect.Link) float64 { return n.trust(now, l) * n.swift(l) }

// trust is the loop's trust in a link.
func (n *Node) trust(now time.Time, l detect.Link) float64 {
	t := n.loop.Trust(now, l.Peer)
	if t == 0 && l.Status == detect.Reachable { // the loop is about to hear of it
		return mapek.TrustBack
	}
	return t
}

// swift is 1, and of a link that is to be avoided for its latency less in proportion to
// how far that is above what the policy allows.
func (n *Node) swift(l detect.Link) float64 {
	limit, rtt := time.Duration(n.cfg.Policy.Latency), max(l.RTT, l.Last)
	if !n.slow[l.Peer] || rtt <= limit || mutant.PreferSlowLinks {
		return 1
	}
	return float64(limit) / float64(rtt)
}

// weighted is a link's quality for the routes; a link that is there keeps some.
func (n *Node) weighted(now time.Time, l detect.Link) uint8 {
	w := n.swift(l) * (1 - distrust*(1-n.trust(now, l)))
	return max(uint8(math.Round(w*float64(l.Quality))), min(l.Quality, 1))
}

// routesOver returns the destinations that are reached over a peer.
func (n *Node) routesOver(peer string) []string {
	var over []string
	for _, r := range n.routes.Routes() {
		if r.NextHop == peer {
			over = append(over, r.Destination)
		}
	}
	return over
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
