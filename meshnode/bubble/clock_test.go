package bubble

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestClock: steps and rates are within their bounds and not all alike; what the machine counts
// follows the rate alone, and goes back for no step; and a corrected clock is right, whatever it was.
func TestClock(t *testing.T) {
	Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 1))
		start := time.Now()
		var c Clock
		time.Sleep(time.Minute)
		if off, count := time.Until(c.Now()), c.Since(start); off != 0 || count != time.Minute {
			t.Fatalf("at first it is %v off and counts %v in a minute", off, count)
		}
		back, ahead, slow, fast := 0, 0, 0, 0
		for range 200 {
			before := c.Since(start)
			off := c.Step(rng)
			if got := time.Until(c.Now()); got != off || off.Abs() > 24*time.Hour {
				t.Fatalf("set %v off, it is %v off", off, got)
			}
			if c.Since(start) != before {
				t.Fatalf("a step of %v has changed what is counted", off)
			}
			rate := c.Drift(rng)
			if got := time.Until(c.Now()); got != off || rate < -0.05 || rate > 0.05 {
				t.Fatalf("with another rate, %v, it is %v off, not %v", rate, got, off)
			}
			time.Sleep(time.Minute)
			gained := time.Duration(rate * float64(time.Minute))
			if got := time.Until(c.Now()); got != off+gained {
				t.Fatalf("a minute at %v later it is %v off, and was %v", rate, got, off)
			}
			if got := c.Since(start) - before; got != time.Minute+gained {
				t.Fatalf("at %v it counts %v in a minute", rate, got)
			}
			if off < 0 {
				back++
			} else {
				ahead++
			}
			if rate < 0 {
				slow++
			} else {
				fast++
			}
		}
		if min(back, ahead, slow, fast) < 50 {
			t.Errorf("set back %d times and ahead %d, slow %d times and fast %d", back, ahead, slow, fast)
		}
		before := c.Since(start)
		c.Correct()
		time.Sleep(time.Minute)
		if off, count := time.Until(c.Now()), c.Since(start)-before; off != 0 || count != time.Minute {
			t.Errorf("corrected it is %v off and counts %v in a minute", off, count)
		}
	})
}
