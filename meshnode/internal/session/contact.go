package session

import (
	"time"

	"net/netip"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// First contact is what anybody can make a node keep something for: parts of an init
// message, and the answer to a whole one until it is finished. Both are bounded, and
// bounded so that who floods is in his own way first: per source, per name that is
// claimed, and in all, by relay apart from directly, for a relay's frames show no
// address and get no cookie. What gives way is what is oldest, and never a call from
// where a peer is known to be.

// The bounds of half-open handshakes, beside Limits.HalfOpen in all.
const (
	halfOpenPerSource = 8
	halfOpenPerName   = 8 // a certificate can be shown by whoever has seen it
	relayedShare      = 4 // of Limits.HalfOpen one part of so many, by relay
)

// contact is a source of handshake messages in reassembly: an address, or what one
// neighbour hands over of one node.
type contact struct {
	addr netip.Addr
	node Peer
	via  Peer
}

// incomplete returns the messages in reassembly that come the way a frame came. It
// needs m.mu.
func (m *Manager) incomplete(from sender) *transport.Reassembler[contact, handshakeKey] {
	if from.node != "" {
		return &m.relayedHandshakes
	}
	return &m.handshakes
}

// loaded reports whether first contact has to show a cookie. What comes by relay
// does not count, as it does not fill what this is about. It needs m.mu.
func (m *Manager) loaded(now time.Duration) bool {
	if m.handshakes.Len() >= reassemblyCookie {
		return true
	}
	for len(m.gaveWay) > 0 && m.gaveWay[0] <= now {
		m.gaveWay = m.gaveWay[1:]
	}
	direct := len(m.gaveWay) // each has cost as much as one that is kept
	for _, half := range m.halfOpen {
		if half.from.node == "" {
			direct++
		}
	}
	return direct >= m.cfg.Limits.CookieAfter
}

// unproven reports whether an init frame lacks a cookie that it has to show, and
// answers with one, if that makes no more of it than was sent. It needs m.mu.
func (m *Manager) unproven(now time.Duration, h frame.Header, id, token messageID, part []byte, from sender) bool {
	if from.node != "" || !m.loaded(now) || m.cookies.check(from.addr, id, token) {
		return false
	}
	if h.Fragment == 0 && len(part) >= frame.CookieLen {
		cookie := m.cookies.make(from.addr, id)
		m.writeAll(path{addr: from.addr}, handshakeFrames(frame.HandshakeCookie, cookie[:], id))
	}
	return true
}

// home reports whether a call in a peer's name comes from where the peer is known to
// be. It needs m.mu.
func (m *Manager) home(name Peer, from sender) bool {
	e := m.peers[name]
	return e != nil && from.node == "" && (from.addr == e.connect || from.addr == e.addr && e.current != nil)
}

// admit makes room for a call, and reports whether there is any. It needs m.mu.
func (m *Manager) admit(name Peer, from sender) bool {
	limit := m.cfg.Limits.HalfOpen
	if from.node != "" {
		limit = max(limit/relayedShare, 1)
	}
	for _, class := range []struct {
		most int
		has  func(*halfOpen) bool
		home bool // even what came from a peer's own place gives way
	}{
		{halfOpenPerSource, func(o *halfOpen) bool {
			return o.from.addr.Addr() == from.addr.Addr() && o.from.node == from.node && !o.done
		}, true},
		{halfOpenPerName, func(o *halfOpen) bool { return o.name == name && !o.done }, false},
		{limit, func(*halfOpen) bool { return true }, false},
	} {
		count := 0
		var oldest *halfOpen
		for _, o := range m.halfOpen {
			if (o.from.node == "") != (from.node == "") || !class.has(o) {
				continue
			}
			count++
			if (class.home || !m.home(o.name, o.from)) && (oldest == nil || o.deadline < oldest.deadline) {
				oldest = o
			}
		}
		if count < class.most {
			continue
		}
		if oldest == nil {
			return false
		}
		m.close(oldest)
		if from.node == "" {
			m.gaveWay = append(m.gaveWay[max(0, len(m.gaveWay)+1-m.cfg.Limits.CookieAfter):], oldest.deadline)
		}
	}
	return true
}
