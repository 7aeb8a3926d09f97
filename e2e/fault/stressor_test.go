package fault

import "testing"

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
