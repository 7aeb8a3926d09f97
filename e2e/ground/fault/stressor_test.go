package fault

import (
	"os"
	"os/exec"
	"path/filepath"
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

// TestStressorsAreFoundInTheirPod runs the script where a shell by the name of a stressor burns, and where nothing does.
func TestStressorsAreFoundInTheirPod(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		unable(t, "needs sh")
	}
	binary, err := os.ReadFile(sh)
	if err != nil {
		t.Fatal(err)
	}
	stressor := filepath.Join(t.TempDir(), "stress-ng")
	if err := os.WriteFile(stressor, binary, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		uid, script string
		want        int
	}{
		"one stressor": {"3f0c8a52-0c5f-4a57-9d5a-2b6d1c0e9f31", "echo ready; exec " + stressor + " -c 'while :; do :; done'", 1},
		"no stressor":  {"3f0c8a52-0c5f-4a57-9d5a-2b6d1c0e9f32", idle, 0},
	} {
		t.Run(name, func(t *testing.T) {
			fakePod(t, c.uid, c.script)
			k, p := daemonHere(c.uid)
			var s Stress
			for until := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				if s, err = Stressors(t.Context(), k, here{}, p); err != nil {
					t.Fatal(err)
				}
				if c.want == 0 || s.Ticks > 0 || time.Now().After(until) {
					break
				}
			}
			if s.Processes != c.want || (s.Ticks > 0) != (c.want > 0) {
				t.Errorf("got %+v, want %d processes, which use time", s, c.want)
			}
			if c.want == 0 || !limited(t) {
				return
			}
			// From before the first look to after the second: what is seen is never more than was burnt.
			began := time.Now()
			before, err := Stressors(t.Context(), k, here{}, p)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			after, err := Stressors(t.Context(), k, here{}, p)
			if err != nil {
				t.Fatal(err)
			}
			if burnt := after.Cores(before, time.Since(began)); burnt <= 0 || burnt > podCores*1.1 {
				t.Errorf("%.2f cores burn in a group that has %v", burnt, podCores)
			}
		})
	}
}
