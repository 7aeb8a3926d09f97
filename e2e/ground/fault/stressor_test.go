package fault

import (
	"testing"
	"time"
)

func TestParseBurning(t *testing.T) {
	s, err := parseBurning("stress-ng 0 1\nstress-ng-cpu 40 2\nmemStress 5 6\nend\n")
	if err != nil || s.Processes != 3 || s.Ticks != 54 {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err := parseBurning("end\n"); err != nil || s.Processes != 0 {
		t.Errorf("none: got %+v, %v", s, err)
	}
	for _, bad := range []string{"", "stress-ng 1 2\n", "stress-ng x 2\nend\n"} {
		if _, err := parseBurning(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestCores(t *testing.T) {
	for name, c := range map[string]struct {
		before, now uint64
		want        float64
	}{
		"the first look":    {0, 500, 0},
		"nothing burnt":     {500, 500, 0},
		"half a core":       {500, 600, 0.5},
		"other processes":   {500, 20, 0},
		"more than one can": {500, 1100, 3},
	} {
		if got := (Stress{Ticks: c.now}).Cores(Stress{Ticks: c.before}, 2*time.Second); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
