// Package pmtu finds how large a datagram a path carries without IP fragmentation:
// Datagram Packetization Layer Path MTU Discovery (RFC 8899). It believes no ICMP
// message, which networks drop and anybody can forge: only a probe that was answered.
package pmtu

import "time"

// Base is the size in bytes of a datagram that every path carries (BASE_PLPMTU): the
// least MTU of IPv6, 1,280 (RFC 8200, section 5), without the headers of IPv6 and UDP.
const Base = 1280 - 48

// Times and counts of RFC 8899, section 5.1.
const (
	probeTimer = time.Second      // PROBE_TIMER, its least value
	maxProbes  = 3                // MAX_PROBES: lost in a row, a size is too large
	raiseTimer = 10 * time.Minute // PMTU_RAISE_TIMER: after it larger sizes are tried again
	// confirmTimer (CONFIRMATION_TIMER) is the time between two probes of the size in
	// use, which may have become too large.
	confirmTimer = 10 * time.Second
	// settled is how far apart the largest size that passes and the smallest one that
	// does not may stay.
	settled = 8
)

// Search is the state of the search on one path. Start makes one. Times are those of
// one monotonic clock. It is not safe for concurrent use.
type Search struct {
	largest func() int    // what the interface carries now
	size    int           // passes
	ceiling int           // the largest that is tried
	above   int           // the smallest that does not pass; more than ceiling if none is known
	raise   time.Duration // when that is forgotten
	probe   int           // under way; 0 if none is
	sent    time.Duration // when
	tries   int           // of it, lost
	next    time.Duration // when the size in use is confirmed
}

// Start begins a search for sizes up to what the interface carries, which is asked now and
// whenever larger sizes are tried again.
func Start(now time.Duration, largest func() int) Search {
	s := Search{largest: largest, size: Base, next: now + confirmTimer}
	s.widen(now)
	return s
}

// widen forgets what does not pass.
func (s *Search) widen(now time.Duration) {
	s.ceiling = max(s.largest(), Base)
	s.above, s.raise = s.ceiling+1, now+raiseTimer
}

// Size is the largest datagram in bytes that is known to pass, at least Base.
func (s *Search) Size() int { return max(s.size, Base) }

// Probe returns the size of the probe to send now, 0 if there is none, and when to ask
// again at the latest. heard is when the other end was last heard over the path: while
// it is silent nothing can be said of a probe.
func (s *Search) Probe(now, heard time.Duration) (size int, again time.Duration) {
	if s.probe > 0 {
		if now < s.sent+probeTimer || heard < s.sent+probeTimer/2 {
			return 0, max(now, s.sent) + probeTimer
		}
		if s.tries++; s.tries < maxProbes {
			s.sent = now
			return s.probe, now + probeTimer
		}
		s.lost(now)
	}
	if now >= s.raise {
		s.widen(now)
	}
	switch {
	case s.above-s.size > settled || s.above > s.ceiling && s.size < s.ceiling:
		s.probe = s.between()
	case now >= s.next && s.size > Base:
		s.probe = s.size
	default:
		return 0, min(s.raise, max(s.next, now+probeTimer))
	}
	s.sent, s.tries = now, 0
	return s.probe, now + probeTimer
}

// between chooses a size that is larger than what passes and smaller than what does
// not: the largest first, then the middle.
func (s *Search) between() int {
	if s.above > s.ceiling {
		return s.ceiling
	}
	return (s.size + s.above) / 2
}

// Refused takes note that the probe did not even leave: the interface, or the route, carries
// less than it said.
func (s *Search) Refused(now time.Duration) {
	if s.probe > 0 {
		s.lost(now)
	}
}

// lost takes note that the probe was lost so often that its size is too large.
func (s *Search) lost(now time.Duration) {
	if s.probe <= s.size { // what passed does not any more
		s.size, s.raise = Base, now+raiseTimer
	}
	s.above, s.probe = s.probe, 0
	s.next = now + confirmTimer
}

// Passed takes note that a probe of a size came through, and reports whether more is known
// by that.
func (s *Search) Passed(now time.Duration, size int) bool {
	if size > s.ceiling {
		return false // never sent
	}
	if size >= s.above { // late, or the path has become wider
		s.above = s.ceiling + 1
	}
	more := size > s.Size()
	s.size = max(s.Size(), size)
	if s.probe > 0 && size >= s.probe {
		s.probe, s.next, more = 0, now+confirmTimer, true
	}
	return more
}
