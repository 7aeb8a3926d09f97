package session

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/crash"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// errorsInARow is how many receive errors in a row mean that the socket is
// gone; single ones are ICMP errors of single peers.
const errorsInARow = 100

// receive reads the transport until it is closed.
func (m *Manager) receive() error {
	buf, plain := make([]byte, transport.MaxDatagram), make([]byte, transport.MaxDatagram)
	failed := 0
	for {
		n, from, err := m.cfg.Transport.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			if failed++; failed == errorsInARow {
				return fmt.Errorf("mesh socket: %w", err)
			}
			continue
		}
		failed = 0
		contain(m, from, func() { m.frame(buf[:n], plain, from) })
	}
}

// contain does what a message calls for that came from somebody: an address, a peer, a session. A
// panic costs that message only. One a second is logged: who knows of a mistake can bring it out
// with every message.
func contain[T any](m *Manager, from T, f func()) {
	err := crash.Contain(func() error { f(); return nil })
	if err == nil {
		return
	}
	now, last := int64(m.cfg.Now()), m.crashed.Load()
	if now-last < int64(time.Second) || !m.crashed.CompareAndSwap(last, now) {
		return
	}
	m.log.Error("a message could not be handled", "from", from, "error", err, "stack", string(err.(*crash.Error).Stack))
}

// frame handles one datagram. plain is room for an opened payload.
func (m *Manager) frame(b, plain []byte, from netip.AddrPort) {
	h, payload, err := frame.Parse(b)
	if err != nil {
		return // the kernel counts these
	}
	if h.Type.Class() == frame.ClassHandshake {
		m.handshakeFrame(h, payload, sender{addr: from}, "")
		return
	}
	now, s := m.cfg.Now(), m.session(h.Session)
	if !s.live(now) {
		return
	}
	switch h.Type.Class() {
	case frame.ClassSignature:
		if m.cfg.Signatures == nil {
			m.signatureFrame(now, s, h, b)
		}
		return
	case frame.ClassData:
		if !s.verified(now) {
			return
		}
	}
	part, err := s.openFrame(plain, h, b)
	if err != nil {
		m.log.Debug("sealed frame does not open", "peer", s.peer.name, "session", s.id, "from", from)
		return
	}
	fresh, first := s.sealed.accept(h.Sequence)
	if !fresh {
		m.emit(Event{Kind: Replayed, Peer: s.peer.name, Session: s.id})
		return
	}
	m.take(now, s, h, part, from, first)
}

// take handles an opened frame that came for the first time, from the address
// from or, if that is not valid, by relay.
func (m *Manager) take(now time.Duration, s *session, h frame.Header, part []byte, from netip.AddrPort, first bool) {
	if from.IsValid() {
		s.peer.direct.Store(int64(now))
	}
	m.heard(s, from, first)
	message, complete := s.join(now, h, part)
	if !complete {
		return
	}
	// What is malformed, or brings a mistake out, is passed on as what is for others: nobody
	// knows it there, so that it is counted and refused.
	mine := false
	contain(m, s.peer.name, func() { mine = m.own(s, h.Type, message) })
	if !mine && m.cfg.OnMessage != nil {
		m.cfg.OnMessage(s.peer.name, h.Type, message)
	}
}

// own handles a message for the manager itself, and reports whether it was one, and well formed.
func (m *Manager) own(s *session, t frame.Type, message []byte) bool {
	switch t {
	case frame.Challenge:
		return m.challenged(s, message)
	case frame.PathProbe:
		m.probed(s, message)
	case frame.PathEcho:
		return m.echoed(s, message)
	case frame.AttestationProof:
		return m.proofCame(s, message)
	case frame.AttestationSealed:
		m.mu.Lock()
		defer m.mu.Unlock()
		m.answered(s, message, true)
	case frame.Relay:
		m.cfg.Pass(s.peer.name, message, func(b []byte) { m.relayedMessage(s.peer.name, b) })
	default:
		return false
	}
	return true
}

// session returns the session of an id, nil if there is none.
func (m *Manager) session(id frame.SessionID) *session {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.sessions[id]
}

// settled reports whether a frame from an address tells nothing new of its session.
func (m *Manager) settled(s *session, from netip.AddrPort, first bool) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return s.confirmed.Load() && s == s.peer.current && (!first || s.peer.addr == from)
}

// heard takes note of an authenticated frame: it confirms a session to its
// initiator and, if it is the newest frame of the session, shows where the peer is now.
func (m *Manager) heard(s *session, from netip.AddrPort, first bool) {
	first = first && from.IsValid() // a relay does not show where the peer is
	if m.settled(s, from, first) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, now := s.peer, m.cfg.Now()
	if m.sessions[s.id] != s || !s.live(now) {
		return
	}
	if first && s.generation >= e.generation() && e.addr != from {
		m.log.Info("peer moved", "peer", e.name, "from", e.addr, "to", from)
		e.move(from)
	}
	if !s.confirmed.Load() {
		m.establish(now, s)
		if e.out != nil && e.out.pending == s {
			m.abandon(e) // it has done its work
		}
		m.poke()
	}
}
