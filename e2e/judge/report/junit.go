package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/onsi/ginkgo/v2/reporters"
)

// junit has one suite per scenario and one case per criterion. What could not
// be cleaned up is a suite of its own. No two cases have the same name: GitLab takes
// those for one.
func junit(s *Summary) reporters.JUnitTestSuites {
	all := reporters.JUnitTestSuites{Time: s.WallSeconds}
	add := func(suite reporters.JUnitTestSuite) {
		suite.Timestamp = s.Started.UTC().Format("2006-01-02T15:04:05")
		suite.Tests = len(suite.TestCases)
		suite.Properties.Properties = properties("profile", s.Profile, "mapek", s.Mapek, "control", s.Control)
		all.TestSuites = append(all.TestSuites, suite)
		all.Tests += suite.Tests
		all.Failures += suite.Failures
		all.Errors += suite.Errors
	}
	for _, sc := range s.Scenarios {
		suite := reporters.JUnitTestSuite{Name: sc.Name}
		for _, c := range sc.Criteria {
			tc := c.testCase(sc.Name)
			switch {
			case tc.Failure != nil:
				suite.Failures++
			case tc.Error != nil:
				suite.Errors++
			case tc.Skipped != nil:
				suite.Skipped++
			}
			suite.TestCases = append(suite.TestCases, tc)
			suite.Time += c.Seconds
		}
		add(suite)
	}
	if len(s.Cleanup) > 0 {
		suite := reporters.JUnitTestSuite{Name: "cleanup", Errors: len(s.Cleanup)}
		for i, what := range s.Cleanup {
			suite.TestCases = append(suite.TestCases, reporters.JUnitTestCase{Name: fmt.Sprintf("cleanup %d", i+1), Classname: "cleanup",
				Error: &reporters.JUnitError{Type: "cleanup", Message: what}})
		}
		add(suite)
	}
	return all
}

func (c Criterion) testCase(scenario string) reporters.JUnitTestCase {
	tc := reporters.JUnitTestCase{
		Name: c.Title() + " [" + scenario + "]", Classname: scenario, Status: string(c.Verdict),
		Time: c.Seconds, SystemOut: c.outcome(), Properties: c.properties(),
	}
	switch c.Verdict {
	case Failed:
		tc.Failure = &reporters.JUnitFailure{Type: string(Failed), Message: c.Detail, Description: c.outcome()}
	case Invalid, Aborted:
		tc.Error = &reporters.JUnitError{Type: string(c.Verdict), Message: c.Detail, Description: c.outcome()}
	case NotSupported:
		tc.Skipped = &reporters.JUnitSkipped{Message: c.Detail}
	}
	return tc
}

// Title is the criterion's id and what it proves.
func (c Criterion) Title() string { return strings.TrimSpace(c.ID + " " + c.Text) }

func (c Criterion) properties() *reporters.JUnitProperties {
	p := properties("id", c.ID, "verdict", string(c.Verdict), "cause", string(c.Cause), "expected", c.Expected, "unit", c.Unit)
	if c.Measured != nil {
		p = append(p, properties("measured", strconv.FormatFloat(*c.Measured, 'g', -1, 64))...)
	}
	if m, ok := c.Margin(); ok {
		p = append(p, properties("margin", strconv.FormatFloat(m, 'f', 3, 64))...)
	}
	for _, o := range c.Observed {
		p = append(p, properties(o.Name, o.Value)...)
	}
	for _, q := range c.Queries {
		p = append(p, properties("query", q)...)
	}
	return &reporters.JUnitProperties{Properties: p}
}

// properties are those of names and values in turn; one without a value is left out.
func properties(pairs ...string) (p []reporters.JUnitProperty) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			p = append(p, reporters.JUnitProperty{Name: pairs[i], Value: pairs[i+1]})
		}
	}
	return p
}
