package store

import "time"

// flights are the records on their way to peers, and those that have just come there: what is sent to one again before its
// confirmation can have come makes a slow link slower.
type flights struct {
	sent   map[string]map[position]flight // by peer
	answer map[string]time.Duration       // by peer: how long a confirmation takes, smoothed
}

// flight is when a record was sent, first and last, and when its confirmation came.
type flight struct{ first, last, landed time.Time }

const (
	// pushFar bounds how long a confirmation is waited for, however slow a peer has been: a writer's time has room for a loss.
	pushFar = 600 * time.Millisecond
	// forgetFlight is how long after the last push a record counts as lost: no confirmation tells anything about the way.
	forgetFlight = 2 * time.Second
)

func newFlights() flights {
	return flights{map[string]map[position]flight{}, map[string]time.Duration{}}
}

// patience is how long a peer's confirmation is waited for.
func (f flights) patience(peer string) time.Duration {
	return min(max(pushAgain, f.answer[peer]*5/4), pushFar)
}

// due tells whether a record is to be sent to a peer whose confirmation is awaited.
func (f flights) due(now time.Time, peer string, p position) bool {
	s, under := f.sent[peer][p]
	return !under || !s.landed.IsZero() || now.Sub(s.last) >= f.patience(peer)
}

// coming tells whether a record is on its way to a peer whose summary, which has just come, lacks it: the summary may have left
// before the record arrived. One that left later says that it is lost, and comes about as late as the confirmation would.
func (f flights) coming(now time.Time, peer string, p position) bool {
	s, under := f.sent[peer][p]
	since := s.last
	if s.landed.After(since) {
		since = s.landed
	}
	return under && now.Sub(since) < min(f.answer[peer]*7/8, pushFar)
}

// left notes that a record was sent to a peer.
func (f flights) left(now time.Time, peer string, p position) {
	if f.sent[peer] == nil {
		f.sent[peer] = map[position]flight{}
	}
	s, under := f.sent[peer][p]
	if !under || !s.landed.IsZero() {
		s = flight{first: now}
	}
	s.last = now
	f.sent[peer][p] = s
}

// landed notes a peer's confirmation. Of a record that was sent again it is not known which time counts: the first does, where it
// was not long ago (compare Karn's algorithm, RFC 6298 section 3).
func (f flights) landed(now time.Time, peer string, p position) {
	s, under := f.sent[peer][p]
	if !under || !s.landed.IsZero() {
		return
	}
	s.landed = now
	f.sent[peer][p] = s
	if s.last.Sub(s.first) >= pushFar {
		return
	}
	took := min(now.Sub(s.first), pushFar)
	if before, known := f.answer[peer]; known {
		took = before + (took-before)/4 // RFC 6298 smooths by 1/8; there are fewer samples here
	}
	f.answer[peer] = took
}

// forget drops what was lost.
func (f flights) forget(now time.Time) {
	for peer, under := range f.sent {
		for p, s := range under {
			if now.Sub(s.last) >= forgetFlight {
				delete(under, p)
			}
		}
		if len(under) == 0 {
			delete(f.sent, peer)
		}
	}
}
