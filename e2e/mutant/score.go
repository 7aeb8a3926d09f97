package mutant

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Verdict is what a run in the cluster says of a defect.
type Verdict string

// The verdicts. Only Caught is what a suite is worth.
const (
	Caught   Verdict = "caught"
	Survived Verdict = "survived" // its criterion passed
	Wrong    Verdict = "wrong"    // another criterion failed that the defect has nothing to do with
	Unjudged Verdict = "unjudged" // its criterion was not judged, or the defect was not there
)

// Result is a defect, its verdict, and why.
type Result struct {
	Mutant  string   `json:"mutant"`
	Verdict Verdict  `json:"verdict"`
	By      []string `json:"by"` // the criteria that failed
	Why     string   `json:"why,omitempty"`
}

// Count returns how many defects were caught.
func Count(results []Result) int {
	n := 0
	for _, r := range results {
		if r.Verdict == Caught {
			n++
		}
	}
	return n
}

// Score judges the run of a defect's scenario by its summary. Its criterion must have
// failed: that nothing could be concluded is no catch. Others may have failed or be invalid
// only where the table says so.
func Score(m Mutant, s *report.Summary, present bool) Result {
	r := Result{Mutant: m.Name, Verdict: Unjudged}
	i := slices.IndexFunc(s.Scenarios, func(sc report.Scenario) bool { return sc.Name == m.Scenario })
	if i < 0 || len(s.Scenarios) != 1 {
		r.Why = fmt.Sprintf("the run is of %d scenarios, not of %s alone", len(s.Scenarios), m.Scenario)
		return r
	}
	verdicts := map[string]report.Verdict{}
	var wrong []string
	for _, c := range s.Scenarios[i].Criteria {
		verdicts[c.ID] = c.Verdict
		if c.Verdict == report.Failed {
			r.By = append(r.By, c.ID)
		}
		if c.Verdict != report.Passed && !m.May(c.ID) {
			wrong = append(wrong, fmt.Sprintf("%s is %s: %s", c.ID, c.Verdict, c.Detail))
		}
	}
	switch own := verdicts[m.Criterion]; {
	case !present:
		r.Why = "no pod of the run has said that it has the defect"
	case own == report.Passed:
		r.Verdict, r.Why = Survived, m.Criterion+" passed"
	case own != report.Failed:
		r.Why = fmt.Sprintf("%s is %q, which concludes nothing", m.Criterion, own)
	case len(wrong) > 0:
		r.Verdict, r.Why = Wrong, strings.Join(wrong, "; ")
	default:
		r.Verdict = Caught
	}
	return r
}

// Present reports whether a pod's log of a run's artefacts says that the defect was in it.
func Present(artefacts fs.FS, m Mutant) (bool, error) {
	logs, err := fs.Glob(artefacts, m.Scenario+"/pods/*.log")
	if err != nil {
		return false, err
	}
	for _, l := range logs {
		b, err := fs.ReadFile(artefacts, l)
		if err != nil {
			return false, err
		}
		for line := range strings.Lines(string(b)) {
			// As text or as JSON, as the log's handler writes it.
			if strings.Contains(line, Announcement) && slices.Contains(strings.FieldsFunc(line, apart), m.Tag()) {
				return true, nil
			}
		}
	}
	return false, nil
}

// apart reports whether a character can be no part of a build tag.
func apart(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }
