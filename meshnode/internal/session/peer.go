package session

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// The methods in this file need m.mu.

// peer returns the entry of p and makes one if there is room.
func (m *Manager) peer(p Peer) *peer {
	e := m.peers[p]
	if e == nil && len(m.peers) < m.cfg.Limits.Peers {
		e = &peer{name: p}
		m.peers[p] = e
	}
	return e
}

// all returns every session with the peer that the kernel knows.
func (p *peer) all() []*session {
	all := append([]*session(nil), p.previous...)
	if p.current != nil {
		all = append(all, p.current)
	}
	if p.out != nil && p.out.pending != nil {
		all = append(all, p.out.pending)
	}
	return all
}

// move sends frames to another address from now on. Of the path to it nothing is known.
func (p *peer) move(addr netip.AddrPort) {
	if p.addr != addr {
		p.addr, p.route.begun = addr, false
		p.route.size.Store(0)
	}
}

// deadline is the time that a challenge to the peer gets.
func (p *peer) deadline() time.Duration { return p.estimator.deadline() + p.allowance }

// generation returns the highest generation among the peer's sessions.
func (p *peer) generation() uint64 {
	var g uint64
	for _, s := range p.all() {
		g = max(g, s.generation)
	}
	return g
}

// install puts a session whose peer has just proven itself into the kernel's
// table.
func (m *Manager) install(now time.Duration, s *session) error {
	l := &m.cfg.Limits
	s.established = time.Now()
	s.expires = min(now+l.TTL, now+m.lifeOf(s))
	// The two sides rekey at different times, so that one handshake is made,
	// and the peers of a node at different ones, so that they do not crowd.
	share := 0.80
	if s.role == responder {
		share = 0.88
	}
	share += 0.05 * m.rand.Float64()
	s.rekeyAt = now + time.Duration(share*float64(s.expires-now))
	until := now + l.Verified
	s.verifiedUntil.Store(int64(until))
	s.challenge = now
	if err := m.cfg.Table.Put(s.id, Entry{RxHeaderKey: s.openHeader, Expires: s.expires, VerifiedUntil: until}); err != nil {
		return err
	}
	m.sessions[s.id] = s
	return nil
}

// establish makes s the current session of its peer, unless the peer's current
// one is newer on both sides.
func (m *Manager) establish(now time.Duration, s *session) {
	e := s.peer
	old := e.current
	s.confirmed.Store(true)
	e.suspended, e.failures = false, 0
	if old.live(now) && old.newer(s) {
		m.replace(now, e, s)
		return
	}
	e.current = s
	m.cfg.Metrics.SessionEstablished(s.reason)
	m.emit(Event{Kind: Established, Peer: e.name, Session: s.id, Detail: s.reason})
	if old != nil {
		if old.live(now) {
			m.cfg.Metrics.KeysRotated(s.reason)
			m.emit(Event{Kind: Rotated, Peer: e.name, Session: s.id, Detail: s.reason})
		}
		m.replace(now, e, old)
	}
	if s.certificate.NotBefore.After(e.newest) {
		e.newest = s.certificate.NotBefore
	}
	if s.anew {
		m.fence(e)
	}
	m.emit(Event{Kind: Verified, Peer: e.name, Session: s.id, Detail: "handshake"})
	m.log.Info("session established", "peer", e.name, "session", s.id, "reason", s.reason, "role", s.role.String(), "addr", e.addr)
}

// errSuperseded says that a name has proven a newer certificate since: whoever
// shows the older one is the process that the new one has replaced, still there.
var errSuperseded = errors.New("an older certificate than one that this name has shown since")

// superseded reports whether a certificate is of a process that was replaced.
func (p *peer) superseded(c *identity.Certificate) bool { return c.NotBefore.Before(p.newest) }

// fence ends the older sessions with a peer that has started again: the
// process that they were made with may still run, under the same name, and must
// not be taken for its successor.
func (m *Manager) fence(e *peer) {
	e.previous = slices.DeleteFunc(e.previous, func(s *session) bool {
		if !e.superseded(s.certificate) {
			return false
		}
		m.drop(s.id)
		return true
	})
}

// replace keeps s as a session that only receives.
func (m *Manager) replace(now time.Duration, e *peer, s *session) {
	s.challenges = nil
	s.retire = s.expires
	if s.live(now) {
		s.retire = min(now+m.cfg.Limits.Grace, s.expires)
	}
	e.previous = append(e.previous, s)
}

// drop deletes a session here and in the kernel.
func (m *Manager) drop(id frame.SessionID) {
	delete(m.sessions, id)
	if err := m.cfg.Table.Delete(id); err != nil {
		m.log.Error("deleting a session from the kernel's table", "session", id, "error", err)
	}
}

// backoff returns 1 s, 2 s, 4 s, … up to Limits.BackoffMax for n = 1, 2, 3, …,
// with a quarter of jitter either way.
func (m *Manager) backoff(n int) time.Duration {
	d := m.cfg.Limits.BackoffMax
	if n < 16 {
		d = min(d, time.Second<<max(n-1, 0))
	}
	return m.jitter(d)
}

func (m *Manager) jitter(d time.Duration) time.Duration {
	return d - d/4 + time.Duration(m.rand.Int64N(int64(d/2)+1))
}

// poke makes the schedule look again.
func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// events is the queue between the manager and OnEvent.
type events struct {
	mu    sync.Mutex
	queue []Event
	wake  chan struct{}
}

// eventsLimit bounds the queue for a callback that does not keep up.
const eventsLimit = 1 << 16

// emit queues e; it may be called with or without m.mu.
func (m *Manager) emit(e Event) {
	if m.cfg.OnEvent == nil {
		return
	}
	m.events.mu.Lock()
	if len(m.events.queue) < eventsLimit {
		m.events.queue = append(m.events.queue, e)
	}
	m.events.mu.Unlock()
	select {
	case m.events.wake <- struct{}{}:
	default:
	}
}

// deliverEvents calls OnEvent until ctx ends.
func (m *Manager) deliverEvents(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.events.wake:
		}
		m.events.mu.Lock()
		queue := m.events.queue
		m.events.queue = nil
		m.events.mu.Unlock()
		for _, e := range queue {
			m.cfg.OnEvent(e)
		}
	}
}

type noMetrics struct{}

func (noMetrics) Verification(bool, attest.Priority) {}
func (noMetrics) VerificationLatency(time.Duration)  {}
func (noMetrics) VerificationTimeout()               {}
func (noMetrics) VerificationShed(attest.Priority)   {}
func (noMetrics) SessionEstablished(string)          {}
func (noMetrics) SessionInvalidated(string)          {}
func (noMetrics) KeysRotated(string)                 {}

func (l *Limits) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&l.TTL, time.Hour},
		{&l.Verified, 5 * time.Second},
		{&l.Challenge, time.Second},
		{&l.Overdue, 150 * time.Millisecond},
		{&l.Grace, 10 * time.Second},
		{&l.Retransmit, 250 * time.Millisecond},
		{&l.Handshake, 8 * time.Second},
		{&l.BackoffMax, 30 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *int
		value int
	}{{&l.HalfOpen, 256}, {&l.CookieAfter, 32}, {&l.Peers, 4096}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if l.SequenceLimit == 0 {
		l.SequenceLimit = 1 << 27
	}
}

// lifeOf returns for how long both certificates of s still count, the same
// allowance for clocks included that let them in.
func (m *Manager) lifeOf(s *session) time.Duration {
	end := s.certificate.NotAfter
	if own := s.credential.Certificate.NotAfter; own.Before(end) {
		end = own
	}
	return end.Add(identity.ClockSkew).Sub(m.cfg.Identity.Now())
}
