package session

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Relays is the manager's view of the routes, and counts what is relayed.
// Methods must not block; they may be called concurrently and with locks held.
type Relays interface {
	// Next returns the neighbour to which frames for p go: p itself if it is
	// reached directly. Without a way, and where nothing may be relayed, ok is
	// false.
	Next(p Peer) (neighbour Peer, ok bool)
	// Forwarded counts a frame that was passed on for others.
	Forwarded()
	// Arrived counts a sealed frame of p that came by relay and was good.
	Arrived(p Peer)
	// Refused counts a frame that a neighbour handed over and that was dropped,
	// for one of metric.RefusedReasons().
	Refused(neighbour Peer, reason string)
}

// relayHops is how many links a relayed frame may cross: as many as a routing
// message.
const relayHops = 16

// relayed is the payload of a Relay message:
//
//	hops left    u8, at least 1
//	origin       u8 length and name
//	destination  u8 length and name
//	datagram     rest: a whole frame of the session of the two
type relayed struct {
	hops                uint8
	origin, destination Peer
	datagram            []byte
}

// relayHeader is the size of what comes before the datagram.
func relayHeader(origin, destination Peer) int { return 1 + 1 + len(origin) + 1 + len(destination) }

var errRelayed = errors.New("malformed relay message")

func (r *relayed) append(b []byte) []byte {
	b = append(b, r.hops, byte(len(r.origin)))
	b = append(b, r.origin...)
	b = append(b, byte(len(r.destination)))
	b = append(b, r.destination...)
	return append(b, r.datagram...)
}

func parseRelayed(b []byte) (relayed, error) {
	var r relayed
	if len(b) == 0 || b[0] == 0 || b[0] > relayHops {
		return r, fmt.Errorf("%w: hop limit", errRelayed)
	}
	r.hops = b[0]
	b = b[1:]
	for _, name := range []*Peer{&r.origin, &r.destination} {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return r, fmt.Errorf("%w: name", errRelayed)
		}
		end := 1 + int(b[0]) // as a byte it would begin again at 0
		if *name = Peer(b[1:end]); !identity.ValidName(string(*name)) {
			return r, fmt.Errorf("%w: name", errRelayed)
		}
		b = b[end:]
	}
	if r.datagram = b; len(b) < frame.HeaderLen || len(b) > frame.HeaderLen+frame.MaxPayload {
		return r, fmt.Errorf("%w: datagram of %d bytes", errRelayed, len(b))
	}
	return r, nil
}

// relayable reports whether frames of type t may go by relay: what two nodes
// say to each other, but not what they say about the link between them.
// Heartbeats and probes measure it, and routing messages are about it. What goes by
// relay is sealed: nothing of the signature class does.
func relayable(t frame.Type) bool {
	switch t.Class() {
	case frame.ClassHandshake:
		return t != frame.HandshakeCookie // there is no address to prove
	case frame.ClassControl:
		return t == frame.Challenge || t == frame.AttestationSealed
	case frame.ClassData:
		return t != frame.Relay
	}
	return false
}

// path is how frames get to a peer: to its address, or over the session with a
// relay.
type path struct {
	addr  netip.AddrPort // of the peer or of the relay
	to    Peer           // set if there is a relay
	relay *session
}

const (
	// answerBack is how long the way that a relayed frame came is good for the
	// answer.
	answerBack = 2 * time.Second
	// unaware is how much later than the other end one may notice that their
	// link is cut.
	unaware = time.Second
)

// pathTo returns the path of frames of type t to p, whose own address is addr.
// The two ends of a cut link notice at different times: where the routes have
// no way yet, or still the straight one although p has just gone over to a relay,
// the answer goes back the way that p's last frame came. It needs m.mu.
func (m *Manager) pathTo(p Peer, addr netip.AddrPort, t frame.Type) path {
	if m.cfg.Relays == nil || !relayable(t) {
		return path{addr: addr}
	}
	next, ok := m.cfg.Relays.Next(p)
	if !ok || next == p {
		e, now := m.peers[p], m.cfg.Now()
		if e == nil {
			return path{addr: addr}
		}
		d := e.back.Load()
		if d == nil || int64(d.at) <= e.direct.Load() || now-d.at > answerBack || ok && now-d.since > unaware {
			return path{addr: addr}
		}
		next = d.neighbour
	}
	if w, ok := m.pathOver(next, p); ok {
		return w
	}
	return path{addr: addr} // the relay would refuse it
}

// cameBack notes the way that a frame of p came.
func (p *peer) cameBack(neighbour Peer, now time.Duration) {
	since := now
	if d := p.back.Load(); d != nil && now-d.at <= answerBack && int64(d.since) > p.direct.Load() {
		since = d.since
	}
	p.back.Store(&detour{neighbour, since, now})
}

// pathOver returns the path to p over the session with a neighbour, if that
// may carry data. It needs m.mu.
func (m *Manager) pathOver(neighbour, p Peer) (path, bool) {
	e := m.peers[neighbour]
	if e == nil || !e.current.verified(m.cfg.Now()) {
		return path{}, false
	}
	return path{addr: e.addr, to: p, relay: e.current}, true
}

// write sends one datagram on its way.
func (m *Manager) write(w path, datagram []byte) error {
	if w.relay == nil {
		return m.cfg.Transport.WriteTo(datagram, w.addr)
	}
	return m.handOver(w, relayed{hops: relayHops, origin: m.self, destination: w.to, datagram: datagram})
}

func (m *Manager) handOver(w path, r relayed) error {
	message := r.append(make([]byte, 0, relayHeader(r.origin, r.destination)+len(r.datagram)))
	return m.sendOn(w.relay, path{addr: w.addr}, frame.Relay, message)
}

// relayedMessage handles a Relay message that a neighbour has sent.
func (m *Manager) relayedMessage(neighbour Peer, message []byte) {
	if m.cfg.Relays == nil {
		return
	}
	reason := metric.RefusedMalformed // also if it brings a mistake out
	contain(m, neighbour, func() { reason = m.takeRelayed(neighbour, message) })
	if reason != "" {
		m.cfg.Relays.Refused(neighbour, reason)
		m.log.Debug("relayed frame refused", "neighbour", neighbour, "reason", reason)
	}
}

// takeRelayed forwards or takes in a Relay message; it returns why not, or
// nothing. A neighbour answers only for its own doing: whatever is wrong
// with the frame inside says nothing about the node that it names. Nor does a neighbour
// answer for a panic over what the frame holds, which it has only passed on.
func (m *Manager) takeRelayed(neighbour Peer, message []byte) (refused string) {
	r, err := parseRelayed(message)
	if err != nil || r.origin == m.self {
		return metric.RefusedMalformed
	}
	h, payload, err := frame.Parse(r.datagram)
	if err != nil || !relayable(h.Type) {
		return metric.RefusedMalformed
	}
	// Only nodes that the routes know take part, or that prove a session.
	_, known := m.cfg.Relays.Next(r.origin)
	known = known || r.origin == neighbour
	mine := r.destination == m.self && h.Type.Class() != frame.ClassHandshake
	if !known && !(mine && m.shares(h.Session, r.origin)) {
		return metric.RefusedNoRoute
	}
	if !m.relaying.allow(m.cfg.Now(), neighbour, r.origin, h.Type, len(message)) {
		return metric.RefusedRateLimited
	}
	if r.destination != m.self {
		return m.forward(neighbour, r)
	}
	if h.Type.Class() == frame.ClassHandshake {
		contain(m, r.origin, func() { m.handshakeFrame(h, payload, sender{node: r.origin}, neighbour) })
		return ""
	}
	return m.arrived(neighbour, r, h)
}

// shares reports whether a session is one with p.
func (m *Manager) shares(id frame.SessionID, p Peer) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.sessions[id]
	return s != nil && s.peer.name == p
}

// forward passes a frame on.
func (m *Manager) forward(neighbour Peer, r relayed) (refused string) {
	if r.hops == 1 {
		return metric.RefusedHops
	}
	next, ok := m.cfg.Relays.Next(r.destination)
	if !ok || next == neighbour || next == r.origin {
		return metric.RefusedNoRoute
	}
	w, ok := m.wayOn(next, r)
	if !ok {
		return metric.RefusedNoRoute
	}
	r.hops--
	if err := m.handOver(w, r); err != nil {
		m.log.Debug("frame not forwarded", "origin", r.origin, "to", r.destination, "error", err)
		return metric.RefusedNoRoute
	}
	m.cfg.Relays.Forwarded()
	return ""
}

// wayOn returns the way of a relayed frame to the next node, unless its origin is blocked.
func (m *Manager) wayOn(next Peer, r relayed) (path, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	w, ok := m.pathOver(next, r.destination)
	return w, ok && m.blocked[r.origin] <= m.cfg.Now()
}

// arrived takes in a frame of a session that came by relay, past the kernel:
// what the kernel would have asked of it is asked here.
func (m *Manager) arrived(neighbour Peer, r relayed, h frame.Header) (refused string) {
	now, s := m.cfg.Now(), m.session(h.Session)
	switch {
	case !s.live(now) || s.peer.name != r.origin:
		return metric.RefusedNoSession
	case h.Type.Class() == frame.ClassData && !s.verified(now):
		return metric.RefusedExpired
	case !s.tagged(r.datagram):
		return metric.RefusedBadTag
	}
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	part, err := s.openFrame(*buf, h, r.datagram)
	if err != nil {
		return metric.RefusedTampered
	}
	fresh, first := s.sealed.accept(h.Sequence)
	if !fresh {
		return metric.RefusedReplay
	}
	s.peer.cameBack(neighbour, now)
	m.cfg.Relays.Arrived(r.origin)
	contain(m, r.origin, func() { m.take(now, s, h, part, netip.AddrPort{}, first) })
	return ""
}
