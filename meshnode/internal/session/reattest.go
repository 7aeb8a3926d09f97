package session

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
)

// reattest sends the challenges of low priority: attestations on top of those
// that the session needs. They have no deadline, and nothing waits for them.
// It needs m.mu.
func (m *Manager) reattest(now time.Duration, s *session) {
	period := m.cfg.Limits.Reattest
	if period <= 0 || now < s.reattest {
		return
	}
	// The rate is kept also when some go out late, but a long gap is not made up.
	if s.reattest += m.jitter(period); s.reattest < now-time.Second {
		s.reattest = now
	}
	switch {
	case s.peer.suspended || s.backoff > 0: // it has to answer a critical one first
	case m.shedding.Load():
		m.shed(attest.Low)
	default:
		m.send(now, s, []path{m.challengePath(s)}, &challenge{priority: attest.Low})
	}
}

// shed counts work that was turned away.
func (m *Manager) shed(p attest.Priority) {
	m.sheds.Add(1)
	m.cfg.Metrics.VerificationShed(p)
}

// SetShedding turns shedding on or off. While it is on, this node sends no
// challenges of low priority, answers at most one per peer and Limits.Challenge,
// and keeps few verifications of low priority waiting.
func (m *Manager) SetShedding(on bool) {
	if mutant.NeverShed {
		return
	}
	m.shedding.Store(on)
	m.pool.SetShedding(on)
}

// Shedding reports whether shedding is on.
func (m *Manager) Shedding() bool { return m.shedding.Load() }

// Shed returns how much work of low priority was turned away so far.
func (m *Manager) Shed() uint64 { return m.sheds.Load() }

// Waiting returns how many public-key operations wait for a core.
func (m *Manager) Waiting() (critical, low int) { return m.pool.Waiting() }

// Delay returns for how long the oldest public-key operation has been waiting.
func (m *Manager) Delay() time.Duration { return m.pool.Delay() }
