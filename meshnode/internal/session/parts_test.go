package session

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func TestWindowAgainstASet(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		var w window
		seen, top := make(map[uint64]bool), uint64(0)
		for range 20000 {
			seq := uint64(1)
			switch r.IntN(4) {
			case 0:
				seq = top + 1
			case 1:
				seq = top + r.Uint64N(200)
			case 2:
				seq = max(top, windowSize+300) - r.Uint64N(windowSize+200)
			case 3:
				if r.IntN(200) == 0 {
					seq = top + r.Uint64N(3*windowSize)
				}
			}
			want := seq != 0 && !seen[seq] && seq+windowSize > top
			ok, first := w.accept(seq)
			if ok != want || first != (want && seq > top) {
				t.Fatalf("seed %d: accept(%d) with top %d: %v %v, want %v", seed, seq, top, ok, first, want)
			}
			if ok {
				seen[seq], top = true, max(top, seq)
			}
		}
	}
}

func TestWindowEdges(t *testing.T) {
	var w window
	for _, step := range []struct {
		seq  uint64
		want bool
	}{
		{0, false}, {1, true}, {1, false},
		{windowSize, true}, {1, false},
		{windowSize + 1, true}, {1, false}, {2, true},
		{10 * windowSize, true}, {9*windowSize + 1, true}, {9 * windowSize, false}, {9*windowSize + 1, false},
		{1<<64 - 1, true}, {1<<64 - 1, false}, {5, false},
	} {
		if got, _ := w.accept(step.seq); got != step.want {
			t.Errorf("accept(%d) = %v, want %v", step.seq, got, step.want)
		}
	}
}

// The values follow from RFC 6298, section 2, by hand.
func TestEstimator(t *testing.T) {
	var e estimator
	if got := e.deadline(); got != time.Second {
		t.Errorf("before the first sample: %v, want 1 s", got)
	}
	for _, step := range []struct{ sample, want time.Duration }{
		{200 * time.Millisecond, 600 * time.Millisecond},          // SRTT 200, RTTVAR 100
		{200 * time.Millisecond, 500 * time.Millisecond},          // RTTVAR 75
		{400 * time.Millisecond, 650 * time.Millisecond},          // RTTVAR 106.25, SRTT 225
		{10 * time.Second, deadlineMax},                           // never beyond the ceiling
		{225 * time.Millisecond, min(deadlineMax, 100*time.Hour)}, // and it forgets slowly
	} {
		e.sample(step.sample)
		if got := e.deadline(); got != step.want {
			t.Errorf("after %v: %v, want %v", step.sample, got, step.want)
		}
	}
	for range 200 {
		e.sample(time.Millisecond)
	}
	if got := e.deadline(); got != deadlineMin {
		t.Errorf("after many fast samples: %v, want the floor %v", got, deadlineMin)
	}
	var instant estimator
	instant.sample(0) // a sample, too
	if got := instant.deadline(); got != deadlineMin {
		t.Errorf("after a sample of 0: %v, want the floor %v", got, deadlineMin)
	}
}

func TestCookies(t *testing.T) {
	var c cookies
	from := netip.MustParseAddrPort("10.0.0.1:26970")
	id := messageID{1}
	now := time.Hour
	c.rotate(now)
	made := c.make(from, id)
	for _, test := range []struct {
		name string
		at   time.Duration
		from netip.AddrPort
		id   messageID
		got  messageID
		want bool
	}{
		{"fresh", 0, from, id, made, true},
		{"another address", 0, netip.MustParseAddrPort("10.0.0.2:26970"), id, made, false},
		{"another port", 0, netip.MustParseAddrPort("10.0.0.1:26971"), id, made, false},
		{"another call", 0, from, messageID{2}, made, false},
		{"none", 0, from, id, messageID{}, false},
		{"after one rotation", cookieLife, from, id, made, true},
		{"after two", 2 * cookieLife, from, id, made, false},
	} {
		c.rotate(now + test.at)
		if got := c.check(test.from, test.id, test.got); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	// After a long silence the secret of before does not come back as the previous one.
	c.rotate(now + 10*cookieLife)
	old := c.make(from, id)
	if !c.check(from, id, old) {
		t.Error("a fresh cookie is good for nothing")
	}
	c.rotate(now + 30*cookieLife)
	if c.check(from, id, old) {
		t.Error("an old cookie is good after a long silence")
	}
}
