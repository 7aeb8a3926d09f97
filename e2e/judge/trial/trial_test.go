package trial

import (
	"bytes"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/fixtures"
)

var scenarios = []*scenario.Scenario{
	{Name: "network-partition", Fixtures: []string{"network-partition.yaml", "network-partition-link.yaml"}, Criteria: []scenario.Criterion{{ID: "S1.1"}}},
	{Name: "node-crash", Fixtures: []string{"node-crash.yaml"}, Criteria: []scenario.Criterion{{ID: "S3.1"}}},
	{Name: "node-crash-held", Fixtures: []string{"node-crash.yaml"}, Criteria: []scenario.Criterion{{ID: "S3.5"}}},
	{Name: "node-crash-recurring", Fixtures: []string{"node-crash-schedule.yaml"}, Criteria: []scenario.Criterion{{ID: "S3.1"}}},
	{Name: "fault-free"},
}

func TestFind(t *testing.T) {
	for name, want := range map[string]struct{ fixture, criterion string }{
		"network-partition":      {"network-partition.yaml", "S1.1"},
		"network-partition-link": {"network-partition-link.yaml", ""}, // judged beside another only
		"node-crash":             {"node-crash.yaml", "S3.1"},
		"node-crash-recurring":   {"node-crash-schedule.yaml", "S3.1"},
		"node-crash-schedule":    {"node-crash-schedule.yaml", "S3.1"},
		"pqc-forge":              {"pqc-forge.yaml", ""},
	} {
		f, err := Find(scenarios, fixtures.FS, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		criterion := ""
		for _, c := range f.Scenario.Criteria {
			criterion += c.ID
		}
		if f.Fixture != want.fixture || criterion != want.criterion || !f.Scenario.Probed {
			t.Errorf("%s: fixture %s, criteria %q, probed %v", name, f.Fixture, criterion, f.Scenario.Probed)
		}
	}
	if scenarios[0].Probed {
		t.Error("the registry was changed")
	}
}

// TestUnknownFault: one line says which there are. What a scenario does beside its fixture
// is no fault.
func TestUnknownFault(t *testing.T) {
	for _, name := range []string{"", "netwrk-partition", "node-crash-held", "fault-free", "network-partition.yaml"} {
		_, err := Find(scenarios, fixtures.FS, name)
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "latency, latency-one-node, network-partition,") || strings.Count(err.Error(), "node-crash,") != 1 {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestCriteria(t *testing.T) {
	took := 1.2345
	passed := report.Criterion{ID: "S1.1", Verdict: report.Passed, Expected: "≤ 2", Measured: &took, Unit: "s", Text: "it is recognised"}
	failed := report.Criterion{ID: "S1.2", Verdict: report.Failed, Expected: "≤ 3", Measured: &took, Unit: "s", Text: "there are routes", Detail: "b-0 has none"}
	invalid := report.Criterion{ID: "S1.4", Verdict: report.Invalid, Detail: "nobody looked"}
	for name, c := range map[string]struct {
		all   []report.Criterion
		code  int
		wants []string
	}{
		"none":               {nil, report.ExitPassed, []string{"no criterion is about this fault alone"}},
		"passed":             {[]report.Criterion{passed}, report.ExitPassed, []string{"S1.1       passed   ≤ 2       1.234     s     it is recognised", "make e2e-x judges everything"}},
		"failed":             {[]report.Criterion{passed, failed}, report.ExitFailed, []string{"S1.2: b-0 has none"}},
		"invalid":            {[]report.Criterion{invalid, passed}, report.ExitInvalid, []string{"S1.4: nobody looked", "S1.4       invalid            -"}},
		"failed and invalid": {[]report.Criterion{invalid, failed, invalid}, report.ExitFailed, nil},
	} {
		var b bytes.Buffer
		code, err := (&teller{out: &b}).criteria("x", c.all)
		if err != nil || code != c.code {
			t.Errorf("%s: exit %d, %v, want %d", name, code, err, c.code)
		}
		for _, want := range c.wants {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is not in\n%s", name, want, b.String())
			}
		}
	}
}
