package session

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/pmtu"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// Frames are as large as their path carries, and never fragmented by IP. Until more is
// known, and for handshakes always, that is pmtu.Base. Once a session is confirmed,
// probes find what the straight path to its peer carries: sealed frames of the size in
// question, which the peer answers. What goes by relay fits into one frame to the relay.
//
// That a path has become narrower shows in attestations first, which fill frames: whoever
// waits for one that is late asks for it again, in frames that every path carries, and
// its signer goes back to those.

// route is what is known of the straight path to a peer.
type route struct {
	search pmtu.Search
	begun  bool          // a search for the present address
	since  time.Duration // when it began
	size   atomic.Int64  // of the largest datagram; 0 before a search
	narrow atomic.Bool   // datagrams of this size are lost: search again
}

// searchEvery is the least time between two searches: what a peer says of its path costs
// little, however often.
const searchEvery = time.Second

// largest is the size of the largest datagram that goes straight to the peer.
func (r *route) largest() int { return max(int(r.size.Load()), pmtu.Base) }

// fallBack makes frames as small as every path carries, until a search has found more. It
// reports whether that is news.
func (r *route) fallBack() bool {
	return r.size.Swap(pmtu.Base) > pmtu.Base && !r.narrow.Swap(true)
}

// room is the largest payload of a frame of s that goes a way. What goes by relay is to
// fit into one frame of the session with the relay.
func (m *Manager) room(s *session, way path) int {
	if way.relay == nil {
		return s.peer.route.largest() - frame.HeaderLen
	}
	return way.relay.peer.route.largest() - 2*frame.HeaderLen - sealOverhead - relayHeader(m.self, way.to)
}

// split cuts a message into parts of at most size bytes. Where that makes too many, they
// are as large as base: the relay's frame is then split in turn.
func split(message []byte, size, base int) [][]byte {
	if parts := transport.Split(message, size); parts != nil {
		return parts
	}
	return transport.Split(message, max(size, base))
}

// refused takes note that a datagram did not leave: it may have been larger than the
// interface carries.
func (m *Manager) refused(e *peer, way path, err error) {
	if !errors.Is(err, syscall.EMSGSIZE) {
		return
	}
	if way.relay != nil {
		e = way.relay.peer
	}
	if e.route.fallBack() {
		m.poke()
	}
}

// probePath moves the search for the size of datagrams to a peer on, and returns when to
// do so again. It needs m.mu.
func (m *Manager) probePath(now time.Duration, e *peer) time.Duration {
	r, s := &e.route, e.current
	if !s.live(now) || !s.confirmed.Load() {
		return now + housekeeping
	}
	if r.begun && r.narrow.Load() && now < r.since+searchEvery {
		return r.since + searchEvery
	}
	if r.narrow.Swap(false) || !r.begun {
		addr := e.addr.Addr()
		r.search = pmtu.Start(now, func() int { return min(m.cfg.Transport.Largest(addr), maxDatagram) })
		r.begun, r.since = true, now
	}
	size, again := r.search.Probe(now, time.Duration(e.direct.Load()))
	r.size.Store(int64(r.search.Size()))
	if size == 0 {
		return again
	}
	err := m.sendProbe(s, size)
	if errors.Is(err, syscall.EMSGSIZE) {
		r.search.Refused(now)
	} else if err != nil {
		m.log.Debug("path probe not sent", "peer", e.name, "bytes", size, "error", err)
	}
	return again
}

// maxDatagram is the size of a datagram with the largest frame.
const maxDatagram = frame.HeaderLen + frame.MaxPayload

// sendProbe sends a datagram of a size straight to the peer of s. A payload of zeros
// fills it. It needs m.mu.
func (m *Manager) sendProbe(s *session, size int) error {
	padding := make([]byte, size-frame.HeaderLen-sealOverhead)
	return m.sendParts(s, path{addr: s.peer.addr}, frame.PathProbe, [][]byte{padding})
}

// echoSize is the size of a PathEcho payload: that of the datagram of the probe, u16.
const echoSize = 2

// addressOf returns where a peer is.
func (m *Manager) addressOf(e *peer) netip.AddrPort {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return e.addr
}

// probed answers a probe with the size in which it came.
func (m *Manager) probed(s *session, padding []byte) {
	way := path{addr: m.addressOf(s.peer)}
	size := frame.HeaderLen + len(padding) + sealOverhead
	if err := m.sendOn(s, way, frame.PathEcho, binary.BigEndian.AppendUint16(nil, uint16(size))); err != nil {
		m.log.Debug("path echo not sent", "peer", s.peer.name, "error", err)
	}
}

// echoed takes the answer to a probe, and reports whether it is one.
func (m *Manager) echoed(s *session, payload []byte) bool {
	if len(payload) != echoSize {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &s.peer.route
	if !r.begun || r.narrow.Load() {
		return true // about the path as it was
	}
	if !r.search.Passed(m.cfg.Now(), int(binary.BigEndian.Uint16(payload))) {
		return true // nobody asked, or it is known
	}
	r.size.Store(int64(r.search.Size()))
	m.log.Debug("path probed", "peer", s.peer.name, "bytes", r.search.Size())
	m.poke()
	return true
}
