package session

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// Send seals payload and sends it to p on the current session, in several
// frames if need be. Delivery is not confirmed. The error is ErrNoSession,
// ErrTooLarge or the transport's.
func (m *Manager) Send(p Peer, t frame.Type, payload []byte) error {
	if len(payload) > MaxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxMessage)
	}
	m.mu.RLock()
	e := m.peers[p]
	if e == nil || !e.current.live(m.cfg.Now()) {
		m.mu.RUnlock()
		return ErrNoSession
	}
	s, way := e.current, m.pathTo(p, e.addr, t)
	m.mu.RUnlock()
	return m.sendOn(s, way, t, payload)
}

// frames lends buffers of a datagram's size.
var frames = sync.Pool{New: func() any { b := make([]byte, transport.MaxDatagram); return &b }}

// sendOn seals payload and sends it on a way, in frames that this carries. If the
// interface has become narrower than that, all of it is sent once more.
func (m *Manager) sendOn(s *session, way path, t frame.Type, payload []byte) error {
	err := m.sendParts(s, way, t, split(payload, m.room(s, way)-sealOverhead, basePart))
	if errors.Is(err, syscall.EMSGSIZE) {
		m.refused(s.peer, way, err)
		err = m.sendParts(s, way, t, split(payload, m.room(s, way)-sealOverhead, basePart))
	}
	return err
}

func (m *Manager) sendParts(s *session, way path, t frame.Type, parts [][]byte) error {
	defer s.inOrder(way)()
	first, ok := s.reserve(len(parts), 2*m.cfg.Limits.SequenceLimit)
	if !ok {
		return ErrNoSession
	}
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	for i, part := range parts {
		h := frame.Header{Type: t, Fragment: uint8(i), Fragments: uint8(len(parts)), Sequence: first + uint64(i)}
		if err := m.write(way, s.sealFrame(*buf, h, part)); err != nil {
			return fmt.Errorf("send to %s: %w", s.peer.name, err)
		}
	}
	return nil
}
