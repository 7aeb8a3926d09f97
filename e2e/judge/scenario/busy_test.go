package scenario

import "testing"

// TestBusy: no long stall is no excuse; one is a machine that had no time for anybody.
func TestBusy(t *testing.T) {
	for stalls, want := range map[float64]bool{0: false, 1: true, 100: true} {
		if got := busy(stalls) != ""; got != want {
			t.Errorf("%v stalls: busy %t", stalls, got)
		}
	}
}
