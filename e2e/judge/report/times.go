package report

import (
	"path/filepath"
	"time"
)

// FirstSpec is the phase from the command to the first spec.
const FirstSpec = "from the command to the first spec"

// Times are how long parts of a run took the last time.
type Times struct {
	SetUp     time.Duration
	Scenarios map[string]time.Duration
}

// LastTimes returns how long each scenario took in its last run of a profile that is kept
// below a directory, and how long it took to the first spec. What is no run is left out.
func LastTimes(root, profile string) Times {
	t := Times{Scenarios: map[string]time.Duration{}}
	newest := map[string]time.Time{}
	paths, _ := filepath.Glob(filepath.Join(root, "*", summaryFile)) // the pattern is right
	for _, p := range paths {
		s, err := Read(filepath.Dir(p))
		if err != nil || s.Profile != profile || s.Control != "" {
			continue
		}
		later := func(what string, took float64) bool {
			if took == 0 || s.Started.Before(newest[what]) {
				return false
			}
			newest[what] = s.Started
			return true
		}
		for _, ph := range s.Phases {
			if ph.Name == FirstSpec && later("", ph.Seconds) {
				t.SetUp = duration(ph.Seconds)
			}
		}
		for _, sc := range s.Scenarios {
			var took float64
			for _, c := range sc.Criteria {
				took += c.Seconds // the first has the set-up, the last the end
			}
			if later(sc.Name, took) {
				t.Scenarios[sc.Name] = duration(took)
			}
		}
	}
	return t
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
