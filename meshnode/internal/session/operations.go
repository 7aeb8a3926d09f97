package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
)

// Block refuses handshakes with p for d and revokes its sessions, if there are any.
func (m *Manager) Block(p Peer, d time.Duration) error {
	m.mu.Lock()
	m.blocked[p] = m.cfg.Now() + d
	m.mu.Unlock()
	if err := m.Invalidate(p, "blocked"); !errors.Is(err, ErrNoSession) {
		return err
	}
	return nil
}

// Suspend takes note that p is unreachable: outstanding challenges are given
// up, further ones come at the pace of the backoff, and the session counts as
// unverified: no data passes the kernel before the peer has proven itself again. What
// a relay brings of it passes until what was verified lapses, for the peer is gone
// only from the straight way. An answer to a later challenge, or Reverify, ends it.
func (m *Manager) Suspend(p Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.peers[p]
	if e == nil || e.suspended {
		return
	}
	e.suspended = true
	if s := e.current; s != nil {
		s.challenges = nil
		s.backoff = max(s.backoff, 1)
		now := m.cfg.Now()
		s.challenge = now + m.backoff(s.backoff)
		if s.verified(now) {
			s.doubted = true
			if err := m.cfg.Table.SetVerifiedUntil(s.id, now); err != nil {
				m.log.Error("the kernel still takes a session for verified", "peer", p, "session", s.id, "error", err)
			}
		}
	}
}

// Reverify challenges p at once, and makes a new handshake if there is no
// session or the answer does not come by its deadline.
func (m *Manager) Reverify(p Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.peers[p]
	if e == nil {
		return
	}
	now := m.cfg.Now()
	e.suspended = false
	e.failures = 0
	if s := e.current; s.live(now) {
		s.backoff = 0
		m.sendChallenge(now, s, true)
	} else {
		m.call(now, e, ReasonReverify)
	}
	m.poke()
}

// Invalidate revokes the sessions with p, in the kernel first. A new handshake
// follows only from Reverify, Rotate or the peer, or after the longest backoff.
func (m *Manager) Invalidate(p Peer, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.peers[p]
	if e == nil {
		return fmt.Errorf("invalidate %s: %w", p, ErrNoSession)
	}
	now := m.cfg.Now()
	var errs []error
	for _, s := range e.all() {
		if s.revoked.Load() {
			continue
		}
		s.revoked.Store(true)
		s.challenges = nil
		s.retire = s.expires
		var err error
		if !mutant.KeepOldKeyValid {
			err = m.cfg.Table.Revoke(s.id)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("revoke session %s with %s: %w", s.id, p, err))
		}
		if s == e.current {
			m.cfg.Metrics.SessionInvalidated(reason)
			m.emit(Event{Kind: Invalidated, Peer: p, Session: s.id, Detail: reason})
		}
	}
	m.abandon(e)
	e.next = now + m.cfg.Limits.BackoffMax
	m.poke()
	return errors.Join(errs...)
}

// Retire deletes the sessions with p that were replaced and only receive.
func (m *Manager) Retire(p Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.peers[p]; e != nil {
		for _, s := range e.previous {
			if !s.revoked.Load() { // those stay known as such until they expire
				s.retire = m.cfg.Now()
			}
		}
		m.poke()
	}
}

// Rotate replaces the session with p by a new one; the old one, unless it was
// invalidated, receives for Limits.Grace longer.
func (m *Manager) Rotate(p Peer, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.peers[p]; e != nil {
		if s := e.current; mutant.RotateToSameKey && s != nil {
			s.revoked.Store(false)
			_ = m.install(m.cfg.Now(), s)
			return
		}
		m.call(m.cfg.Now(), e, reason)
		m.poke()
	}
}

// Repeat sends the overdue challenges of p again, each one once, and gives them more
// time: they or their answers may have been lost.
func (m *Manager) Repeat(p Peer, by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.peers[p]
	if e == nil || e.current == nil {
		return
	}
	for _, c := range e.current.challenges {
		if now := m.cfg.Now(); c.late() && !c.repeated && c.extend(now, by) {
			m.repeat(e.current, c)
		}
	}
	m.poke()
}

// repeat sends a challenge again. It needs m.mu.
func (m *Manager) repeat(s *session, c *challenge) {
	c.repeated = true
	m.transmitChallenge(s, m.challengePath(s), c)
}

// extend lets c take so long from now, and reports whether there was any left: extendedMax after
// it was sent its deadline has passed for good.
func (c *challenge) extend(now, by time.Duration) bool {
	deadline := min(max(c.deadline, now+by), c.limit)
	if mutant.ExtendWithoutEnd {
		deadline = max(c.deadline, now+by)
	}
	if deadline <= now {
		return false
	}
	if deadline > c.deadline {
		c.deadline, c.extended = deadline, true
	}
	c.overdue = false
	return true
}

// Allow gives every later challenge of p so much more time than its estimate, until it
// is called with 0.
func (m *Manager) Allow(p Peer, more time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.peers[p]; e != nil {
		e.allowance = more
	}
}

// ExtendDeadline gives the outstanding challenges of p more time, so that none
// that has become overdue counts as a timeout yet. One that had more time already and
// is overdue all the same was lost, or its answer was: it is sent again. After
// extendedMax (3 s) nothing helps any more, and it times out.
func (m *Manager) ExtendDeadline(p Peer, by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.peers[p]
	if e == nil || e.current == nil {
		return
	}
	now := m.cfg.Now()
	for _, c := range e.current.challenges {
		if c.lost || c.settled || c.priority != attest.Critical || c.extended && !c.overdue {
			continue // one that has more time already is looked at when that is over
		}
		again := c.late() && (c.extended || c.repeated)
		if c.extend(now, by) && again {
			m.repeat(e.current, c)
		}
	}
	m.poke()
}
