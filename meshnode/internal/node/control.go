package node

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/crash"
	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
	"github.com/x0tta6bl4/mesh/meshnode/internal/route"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Periods of the control goroutine.
const (
	tick       = 50 * time.Millisecond
	measure    = 200 * time.Millisecond // link qualities and session gauges
	weighLoad  = 500 * time.Millisecond // this node's load
	checkGate  = 500 * time.Millisecond
	regateWait = 2 * time.Second // between attempts to put the gate back
	// syncAfter is the gap between good attestations of a peer after which
	// records are compared with it at once; attestations are a second apart.
	syncAfter = 1500 * time.Millisecond
)

// control runs the state machines until ctx ends, and says goodbye.
func (n *Node) control(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var next struct{ step, measure, load, gate, reattach time.Time }
	for {
		ticked := false
		select {
		case <-ctx.Done():
			n.mu.Lock()
			n.send(detect.Output{Send: n.detect.Goodbye()})
			n.mu.Unlock()
			return
		case <-n.in.wake:
		case <-ticker.C:
			ticked = true
		}
		n.mu.Lock()
		// Messages come before the tick: silence is judged only when nothing
		// that could break it waits.
		n.takeInputs()
		now := time.Now()
		if ticked {
			n.overload.tick(now)
			if !now.Before(next.load) {
				next.load = now.Add(weighLoad)
				n.measureLoad(now)
			}
			n.send(n.detect.Tick(now))
			n.resolveDoubts(now)
			n.sessions.Judge()
			n.sendRoutes(n.routes.Tick(now))
			if !now.Before(next.measure) {
				next.measure = now.Add(measure)
				n.measure(now)
			}
			if !now.Before(next.gate) {
				next.gate = now.Add(checkGate)
				n.checkGate(now, &next.reattach)
			}
		}
		if len(n.signals) > 0 || !now.Before(next.step) {
			next.step = now.Add(mapek.Tick)
			signals := n.signals
			n.signals = nil
			n.loop.Step(now, signals)
			n.endRelief()
			n.endPatience()
			n.endStorageRelief()
			n.endCorrection()
		}
		n.publishWays()
		n.mu.Unlock()
	}
}

func (n *Node) takeInputs() {
	messages, events, members := n.in.take()
	if members != nil {
		n.setMembers(time.Now(), members)
	}
	for _, e := range events {
		n.handleEvent(e)
	}
	for _, m := range messages {
		kind := metric.MessageControl
		if m.typ == frame.Routing {
			kind = metric.MessageRouting
		}
		if err := crash.Contain(func() error { return n.takeMessage(time.Now(), m) }); err != nil {
			n.refuse(m.from, kind, err)
		}
	}
}

func (n *Node) takeMessage(now time.Time, m message) error {
	if m.typ == frame.Routing {
		out, err := n.routes.Receive(now, m.from, m.payload)
		n.sendRoutes(out)
		return err
	}
	out, err := n.detect.Receive(now, m.from, m.typ, m.payload)
	n.send(out)
	return err
}

// handleEvent turns a session event into signals and counts.
func (n *Node) handleEvent(e timed) {
	peer := string(e.Peer)
	signal := func(k mapek.SignalKind) {
		n.signals = append(n.signals, mapek.Signal{Kind: k, Peer: peer, Time: e.at, Since: e.at, Session: e.Session.String()})
	}
	switch e.Kind {
	case session.Established, session.Rotated:
		n.meet(e.at, peer)
		n.detect.Resume(e.at, peer)
	case session.Verified:
		n.metrics.PeerVerifications.WithLabelValues(peer, e.Priority.String()).Inc()
		n.meet(e.at, peer)
		if e.at.Sub(n.proof[peer]) > syncAfter {
			n.records.Sync(peer) // data flows (again): see what was missed
		}
		n.proof[peer] = e.at
		signal(mapek.Verified)
	case session.VerificationFailed:
		n.metrics.Anomalies.WithLabelValues(metric.VerificationFailed).Inc()
		signal(mapek.VerificationFailed)
		if mutant.BadSignatureIsLinkFailure {
			signal(mapek.Unreachable)
		}
	case session.ProvenBad:
		signal(mapek.ProvenBad)
	case session.ChallengeOverdue:
		// Who is starved itself cannot tell that a peer is late.
		n.late(e.at, peer)
	case session.ChallengeTimeout:
		signal(mapek.TimedOut)
	case session.UnknownPeer:
		n.metrics.Anomalies.WithLabelValues(metric.UnknownPubkey).Inc()
	case session.Relayed:
		n.relayed(peer, e.at)
		return
	case session.Replayed:
		n.metrics.Anomalies.WithLabelValues(metric.ReplayAttack).Inc()
	}
	if e.Kind != session.Verified {
		n.log.Debug("session", "event", string(e.Kind), "peer", peer, "session", e.Session.String(), "detail", e.Detail)
	}
}

// send sends the detector's messages and turns its changes into signals.
func (n *Node) send(out detect.Output) {
	for _, m := range out.Send {
		n.transmit(m.To, m.Type, m.Payload)
	}
	for _, c := range out.Changes {
		n.change(c)
	}
	if len(out.Changes) > 0 {
		n.publishReachable()
	}
}

func (n *Node) transmit(to string, t frame.Type, payload []byte) {
	if err := n.carry(session.Peer(to), t, payload); err != nil && !errors.Is(err, session.ErrNoSession) {
		n.log.Debug("not sent", "peer", to, "type", t, "error", err)
	}
}

func (n *Node) change(c detect.Change) {
	signal := func(k mapek.SignalKind) {
		n.signals = append(n.signals, mapek.Signal{Kind: k, Peer: c.Peer, Time: c.Time, Since: c.LastHeard, SeenBy: c.SeenBy, Missed: c.Missed})
	}
	if c.Restarted {
		signal(mapek.Restarted)
		return
	}
	n.metrics.SetStatus(c.Peer, c.To.String())
	switch c.To {
	case detect.Unknown:
		if c.Left {
			n.clients.Left(c.Peer)
		}
		n.sendRoutes(n.routes.Forget(c.Time, c.Peer))
		delete(n.silent, c.Peer)
		delete(n.clocks.wrong, c.Peer) // the loop forgets it, too
		signal(mapek.Gone)
	case detect.Suspect:
		signal(mapek.Suspected)
	case detect.Unreachable:
		n.silent[c.Peer] = &silence{since: c.LastHeard}
		if !n.byRelay(c.Peer) {
			n.sessions.Suspend(session.Peer(c.Peer))
		}
		signal(mapek.Unreachable)
	case detect.Reachable:
		delete(n.silent, c.Peer)
		delete(n.detours, c.Peer)
		n.sendRoutes(n.routes.SetLink(c.Time, c.Peer, n.weighted(c.Time, detect.Link{Peer: c.Peer, Status: c.To, Quality: math.MaxUint8})))
		switch c.From {
		case detect.Suspect:
			signal(mapek.Cleared)
		case detect.Unreachable:
			signal(mapek.Returned)
			n.records.Sync(c.Peer) // after a short absence its session may still carry data
		default:
			signal(mapek.Met)
		}
	}
}

// sendRoutes counts changed routes and leaves the routing messages to
// publishWays.
func (n *Node) sendRoutes(out route.Output) {
	n.announced = append(n.announced, out.Send...)
	if out.Changed > 0 {
		n.metrics.RoutesRecalculated.Add(float64(out.Changed))
		n.rerouted = true
	}
}

// measure passes link qualities on and refreshes the gauges.
func (n *Node) measure(now time.Time) {
	for _, l := range n.detect.Links() {
		n.metrics.LinkWeight.WithLabelValues(l.Peer).Set(n.weight(now, l))
		// A link that has fallen silent keeps its quality: to leave it before its
		// announcements age out is the loop's decision.
		if l.Status == detect.Reachable {
			n.weighLink(now, l)
		}
		if l.Status == detect.Reachable && l.Last > 0 {
			n.signals = append(n.signals, mapek.Signal{Kind: mapek.RoundTrip, Peer: l.Peer, Time: now, Since: now, RTT: l.Last})
		}
		if l.RTT > 0 {
			n.metrics.RTT.WithLabelValues(l.Peer).Set(l.RTT.Seconds())
		}
	}
	n.publishReachable()
	n.judgeRefusals(now)
	n.judgeHealth(now)
	n.judgeStore(now)
	n.judgeClocks(now)
	n.judgeMute(now)
	routes := map[[2]string]float64{}
	for _, r := range n.routes.Routes() {
		routes[[2]string{r.Destination, r.NextHop}] = float64(r.Quality)
	}
	n.metrics.SetRoutes(routes)
	for peer, share := range n.loop.Availability(now) {
		n.metrics.Availability.WithLabelValues(peer).Set(share)
	}
	states := map[session.State]int{}
	for _, s := range n.sessions.Sessions() {
		states[s.State]++
		n.metrics.Deadline.WithLabelValues(string(s.Peer)).Set(s.Deadline.Seconds())
		n.metrics.PathMTU.WithLabelValues(string(s.Peer)).Set(float64(s.MTU))
	}
	for _, s := range metric.States() {
		n.metrics.Sessions.WithLabelValues(s).Set(float64(states[session.State(s)]))
	}
	n.metrics.Records.Set(float64(n.store.Len()))
	n.metrics.SessionsHomed.Set(float64(n.clients.Homed(n.name)))
}

// weighLink tells the routes the quality of a link. One that is left because the peer
// hears nothing over it is a lost link at its other end, where the session may be in
// doubt: the peer is to hear by relay at once.
func (n *Node) weighLink(now time.Time, l detect.Link) {
	out := n.routes.SetLink(now, l.Peer, n.weighted(now, l))
	switch {
	case l.Quality > 0:
		delete(n.detours, l.Peer)
	case out.Changed > 0 && n.cfg.Heal:
		n.detours[l.Peer] = true
	}
	n.sendRoutes(out)
}

// checkGate notices a lost gate, stops data, and puts the gate back.
func (n *Node) checkGate(now time.Time, retry *time.Time) {
	err := n.cfg.Gate.Healthy()
	lost := n.gate.Load() != nil
	if err != nil && !lost {
		why := err.Error()
		n.gate.Store(&why)
		n.journal.Append(event.Entry{Phase: event.Monitor, Kind: event.VerifierLost, Detail: map[string]string{event.DetailError: why}})
	}
	if err != nil && !now.Before(*retry) {
		*retry = now.Add(regateWait)
		if err = n.cfg.Gate.Reattach(); err != nil {
			n.log.Error("the verifier could not be attached again", "error", err)
			return
		}
		err = n.cfg.Gate.Healthy()
	}
	if err == nil && n.gate.Swap(nil) != nil {
		n.record(event.VerifierBack, "")
	}
}
