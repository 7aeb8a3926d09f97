package session

import (
	"context"
	"slices"
	"time"
)

// tickMin is the shortest pause between two looks at the schedule; it bounds
// what many peers with deadlines close together cost.
const tickMin = 5 * time.Millisecond

// keepSchedule acts on everything that falls due, until ctx ends.
func (m *Manager) keepSchedule(ctx context.Context) {
	timer := time.NewTimer(tickMin)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-m.wake:
		}
		m.mu.Lock()
		now := m.cfg.Now()
		next := m.step(now)
		m.mu.Unlock()
		timer.Reset(max(next-now, tickMin))
	}
}

// housekeeping is how often bounded tables are swept.
const housekeeping = time.Second

// step does what is due at now and returns when to look again. It needs m.mu.
func (m *Manager) step(now time.Duration) time.Duration {
	next := now + housekeeping
	for _, e := range m.peers {
		next = min(next, m.stepPeer(now, e))
	}
	for _, half := range m.halfOpen {
		if now >= half.deadline {
			m.close(half)
		}
	}
	for p, until := range m.blocked {
		if now >= until {
			delete(m.blocked, p)
		}
	}
	m.handshakes.Expire(now)
	m.relayedHandshakes.Expire(now)
	m.answers.Expire(now)
	m.relaying.expire(now)
	m.admission(now)
	return next
}

func (m *Manager) stepPeer(now time.Duration, e *peer) time.Duration {
	next := now + housekeeping
	e.previous = slices.DeleteFunc(e.previous, func(s *session) bool {
		if now < s.retire {
			return false
		}
		m.drop(s.id)
		return true
	})
	if s := e.current; s != nil && now >= s.expires {
		m.drop(s.id)
		e.current = nil
	}
	if o := e.out; o != nil {
		switch {
		case now >= o.deadline:
			m.emit(Event{Kind: HandshakeFailed, Peer: e.name, Detail: "no answer"})
			m.abandon(e)
			e.failures++
			e.next = now + m.backoff(e.failures)
		case now >= o.resend:
			m.transmit(o)
		}
	}
	live := e.current.live(now)
	if live {
		m.attestation(now, e.current)
		m.rekey(now, e)
		next = min(next, e.current.nextAttestation(), m.probePath(now, e))
	}
	switch {
	case e.out != nil:
		next = min(next, e.out.resend, e.out.deadline)
	case !live && e.wanted && now >= e.next:
		m.initiate(now, e, ReasonConnect, 0)
		if e.out != nil {
			next = min(next, e.out.resend)
		}
	case !live && e.wanted:
		next = min(next, e.next)
	case !live && e.current == nil && len(e.previous) == 0:
		delete(m.peers, e.name) // learnt from a handshake, and gone
	}
	return next
}

// rekey replaces a session in time.
func (m *Manager) rekey(now time.Duration, e *peer) {
	if e.out != nil || now < e.next || e.suspended {
		return
	}
	switch s := e.current; {
	case now >= s.rekeyAt:
		m.initiate(now, e, ReasonTTL, 0)
	case s.sequence.Load() >= m.cfg.Limits.SequenceLimit:
		m.initiate(now, e, ReasonSequence, 0)
	}
}
