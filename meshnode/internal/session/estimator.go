package session

import "time"

// The bounds of a challenge's deadline.
const (
	deadlineInitial     = time.Second            // before the first sample, RFC 6298 (2.1)
	deadlineMin         = 150 * time.Millisecond // a busy machine's scheduling must not look like loss
	deadlineMax         = 5 * time.Second
	deadlineGranularity = 10 * time.Millisecond
)

// estimator computes the deadline of challenges from the latencies of recent
// ones in the form of RFC 6298: SRTT + max(G, 4*RTTVAR), with alpha 1/8 and
// beta 1/4. Every challenge has a number of its own; of one that was sent more than
// once no sample is taken, for it would be ambiguous (Karn's rule).
type estimator struct {
	sampled      bool
	srtt, rttvar time.Duration
}

func (e *estimator) sample(r time.Duration) {
	if !e.sampled {
		e.sampled, e.srtt, e.rttvar = true, r, r/2
		return
	}
	e.rttvar += ((e.srtt - r).Abs() - e.rttvar) / 4
	e.srtt += (r - e.srtt) / 8
}

func (e *estimator) deadline() time.Duration {
	if !e.sampled {
		return deadlineInitial
	}
	return min(max(e.srtt+max(deadlineGranularity, 4*e.rttvar), deadlineMin), deadlineMax)
}
