package node

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// sessionMetrics lets the session manager count.
type sessionMetrics struct{ s *metric.Set }

func (m sessionMetrics) Verification(ok bool, p attest.Priority) {
	result := metric.ResultSuccess
	if !ok {
		result = metric.ResultFailed
		m.s.VerificationsFailed.Inc()
	}
	m.s.Verifications.WithLabelValues(result, p.String()).Inc()
}

func (m sessionMetrics) VerificationLatency(d time.Duration) {
	m.s.VerificationLatency.Observe(d.Seconds())
}

func (m sessionMetrics) VerificationTimeout() { m.s.Timeouts.Inc() }

func (m sessionMetrics) VerificationShed(p attest.Priority) {
	m.s.Shed.WithLabelValues(p.String()).Inc()
}

// SessionEstablished also counts the rotation that answers a compromise: the
// session that it replaces was revoked before, so KeysRotated, which is about
// live ones, may not see it.
func (m sessionMetrics) SessionEstablished(reason string) {
	m.s.Established.WithLabelValues(reason).Inc()
	if reason == metric.ReasonCompromise {
		m.s.Rotations.WithLabelValues(reason).Inc()
	}
}

func (m sessionMetrics) SessionInvalidated(reason string) {
	m.s.Invalidated.WithLabelValues(reason).Inc()
}

func (m sessionMetrics) KeysRotated(reason string) {
	if reason != metric.ReasonCompromise {
		m.s.Rotations.WithLabelValues(reason).Inc()
	}
}
