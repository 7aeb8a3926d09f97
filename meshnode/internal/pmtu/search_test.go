package pmtu

import (
	"fmt"
	"testing"
	"time"
)

// line is a path under virtual time: it answers the probes that it carries after a round
// trip, and its other end is heard all the time unless it is down.
type line struct {
	carries int
	down    bool
	lose    func(n int) bool // the n-th probe
	now     time.Duration
	heard   time.Duration
	probes  []int
}

const roundTrip = 20 * time.Millisecond

// run lets d pass.
func (l *line) run(s *Search, d time.Duration) {
	end := l.now + d
	for l.now < end {
		if !l.down {
			l.heard = l.now
		}
		size, again := s.Probe(l.now, l.heard)
		if size > 0 {
			l.probes = append(l.probes, size)
			if size <= l.carries && !l.down && (l.lose == nil || !l.lose(len(l.probes))) {
				l.now += roundTrip
				s.Passed(l.now, size)
				continue
			}
		}
		if again <= l.now {
			panic("no time passes")
		}
		l.now = min(again, l.now+200*time.Millisecond)
	}
}

func TestSearchFindsWhatPasses(t *testing.T) {
	for _, carries := range []int{1232, 1233, 1252, 1372, 1392, 1402, 1440, 1452, 1472, 4000, 8000, 8952, 8972} {
		for _, ceiling := range []int{1000, 1232, 1252, 1392, 1440, 1472, 8952, 8972} {
			t.Run(fmt.Sprintf("%d of %d", carries, ceiling), func(t *testing.T) {
				l, s := &line{carries: carries}, Start(0, always(ceiling))
				l.run(&s, 45*time.Second)
				want := max(min(carries, ceiling), Base)
				if got := s.Size(); got > want || want-got > settled || want == ceiling && got != want {
					t.Errorf("found %d, want %d: probes %v", got, want, l.probes)
				}
				for _, p := range l.probes {
					if p > max(ceiling, Base) {
						t.Errorf("a probe of %d", p)
					}
				}
				// At rest it only confirms what is in use, at its pace.
				before := len(l.probes)
				l.run(&s, 5*time.Minute)
				if n := len(l.probes) - before; n > int(5*time.Minute/confirmTimer)+1 {
					t.Errorf("%d probes in five minutes at rest: %v", n, l.probes[before:])
				}
			})
		}
	}
}

// The size in use always passes, but for the time that it takes to notice that the path
// has become narrower; and a path that has become wider is found, too.
func TestSearchFollowsThePath(t *testing.T) {
	l, s := &line{carries: 1472}, Start(0, always(1472))
	l.run(&s, time.Second)
	if s.Size() != 1472 {
		t.Fatalf("size %d before any change", s.Size())
	}
	l.carries = 1372
	l.run(&s, confirmTimer+maxProbes*probeTimer+time.Second)
	if s.Size() > 1372 {
		t.Errorf("size %d on a path of 1372", s.Size())
	}
	l.run(&s, 30*time.Second)
	if s.Size() < 1372-settled || s.Size() > 1372 {
		t.Errorf("size %d, want 1372", s.Size())
	}
	l.carries = 1472
	l.run(&s, raiseTimer+5*time.Second)
	if s.Size() != 1472 {
		t.Errorf("size %d after the path became wider", s.Size())
	}
}

// What the interface carries is asked again when larger sizes are tried again.
func TestSearchFollowsTheInterface(t *testing.T) {
	l, largest := &line{carries: 8972}, 1252
	s := Start(0, func() int { return largest })
	l.run(&s, time.Minute)
	if s.Size() != 1252 {
		t.Fatalf("size %d of an interface that carries 1252", s.Size())
	}
	largest = 1472
	l.run(&s, raiseTimer)
	if s.Size() != 1472 {
		t.Errorf("size %d when it carries 1472", s.Size())
	}
}

// A probe that does not even leave is too large, at once and without being tried again.
func TestSearchTakesARefusal(t *testing.T) {
	const leaves = 1300
	s, tried := Start(0, always(1472)), 0
	for now := time.Duration(0); now < time.Minute; {
		size, again := s.Probe(now, now)
		if size > leaves {
			tried++
			s.Refused(now)
		} else if size > 0 {
			s.Passed(now, size)
		}
		if again <= now {
			t.Fatal("no time passes")
		}
		now = min(again, now+200*time.Millisecond)
	}
	if got := s.Size(); got > leaves || got < leaves-settled || tried > 10 {
		t.Errorf("size %d of %d after %d refusals", got, leaves, tried)
	}
}

func always(n int) func() int { return func() int { return n } }

// Silence says nothing about sizes: who was away is searched for as before.
func TestSearchWaitsForSilence(t *testing.T) {
	for _, known := range []bool{false, true} {
		l, s := &line{carries: 1472, down: !known}, Start(0, always(1472))
		l.run(&s, time.Second)
		l.down = true
		l.run(&s, time.Minute)
		if want := map[bool]int{false: Base, true: 1472}[known]; s.Size() != want {
			t.Errorf("known %t: size %d in the silence, want %d", known, s.Size(), want)
		}
		l.down = false
		l.run(&s, 5*time.Second)
		if s.Size() != 1472 {
			t.Errorf("known %t: size %d after the silence", known, s.Size())
		}
	}
}

// Two losses in a row are losses, not a size.
func TestSearchForgivesLoss(t *testing.T) {
	l, s := &line{carries: 1472, lose: func(n int) bool { return n%3 != 0 }}, Start(0, always(1472))
	l.run(&s, 5*time.Second)
	if s.Size() != 1472 {
		t.Errorf("size %d", s.Size())
	}
	l.run(&s, 5*time.Minute)
	if s.Size() != 1472 {
		t.Errorf("size %d later", s.Size())
	}
}

// An answer that comes late counts; one about more than was ever sent does not.
func TestSearchTakesWhatItSent(t *testing.T) {
	s := Start(0, always(1472))
	s.Probe(0, 0)
	s.Passed(time.Millisecond, 9000)
	if s.Size() != Base {
		t.Errorf("size %d from an answer about 9000", s.Size())
	}
	for now := time.Duration(0); now < 5*time.Second; now += probeTimer {
		s.Probe(now, now)
	}
	s.Passed(6*time.Second, 1472)
	if s.Size() != 1472 {
		t.Errorf("size %d after a late answer", s.Size())
	}
	if size, _ := s.Probe(6*time.Second, 6*time.Second); size != 0 {
		t.Errorf("a probe of %d when all is found", size)
	}
}
