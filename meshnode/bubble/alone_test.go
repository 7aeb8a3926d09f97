//go:build race && !go1.27

package bubble

import (
	"runtime"
	"testing"
	"time"
)

// TestOneAtATime sees that one goroutine runs at a time from the first bubble's beginning to the
// last one's end, and as many as before after it, also when a test ends in a bubble by itself.
func TestOneAtATime(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	if before == 1 {
		before = 2
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(before))
	}
	first, both := alone(), alone()
	first()
	if n := runtime.GOMAXPROCS(0); n != 1 {
		t.Errorf("with one of two bubbles left: %d at a time", n)
	}
	both()
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("after both: %d at a time, %d before", n, before)
	}
	Test(t, func(t *testing.T) {
		began := time.Now()
		time.Sleep(time.Hour)
		if time.Since(began) != time.Hour {
			t.Error("time is not virtual")
		}
		if n := runtime.GOMAXPROCS(0); n != 1 {
			t.Errorf("in a bubble: %d at a time", n)
		}
	})
	t.Run("ends", func(t *testing.T) {
		Test(t, func(t *testing.T) { t.SkipNow() })
	})
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("after the bubbles: %d at a time, %d before", n, before)
	}
}
