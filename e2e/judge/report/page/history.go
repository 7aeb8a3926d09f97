package page

import (
	"path/filepath"
	"slices"

	"github.com/x0tta6bl4/mesh/e2e/control"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// remembered is how many runs before this one are shown.
const remembered = 8

// history is what runs before this one found, oldest first.
type history struct {
	alike []*report.Summary // of the same profile, with the same loop, and with faults or not
	// control is the last run of the same profile without the loop.
	control *report.Summary
	// score is the last one of all controls in the project above; nil: there is none.
	score *control.Score
}

// readHistory reads the runs beside one. What is no run, or cannot be read, is none.
func readHistory(dir string, of *report.Summary) history {
	var h history
	var all []*report.Summary
	paths, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "*", "summary.json")) // the pattern is right
	for _, p := range paths {
		if other := filepath.Dir(p); other != dir && filepath.Base(other) != "latest" {
			if s, err := report.Read(other); err == nil && s.Started.Before(of.Started) && s.Profile == of.Profile {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b *report.Summary) int { return a.Started.Compare(b.Started) })
	for _, s := range all {
		if s.Mapek == of.Mapek && s.Control == of.Control {
			h.alike = append(h.alike, s)
		}
		if s.Mapek == "off" && s.Control == "" {
			h.control = s
		}
	}
	if of.Mapek == "off" {
		h.control = of
	}
	if s, err := control.Last(filepath.Dir(filepath.Dir(dir))); err == nil {
		h.score = &s
	}
	return h
}

// of returns what the last runs found of a criterion, oldest first. A run that did not
// judge it has no part in it.
func (h history) of(scenario, id string) []report.Criterion {
	var found []report.Criterion
	for _, s := range h.alike {
		for _, sc := range s.Scenarios {
			for _, c := range sc.Criteria {
				if sc.Name == scenario && c.ID == id {
					found = append(found, c)
				}
			}
		}
	}
	return found[max(0, len(found)-remembered):]
}
