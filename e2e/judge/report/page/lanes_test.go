package page

import (
	"reflect"
	"strings"
	"testing"

	"github.com/onsi/ginkgo/v2/types"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// TestLanes sees each scenario in its lane, at its time, and none that ran in no lane.
func TestLanes(t *testing.T) {
	s := &report.Summary{Started: epoch, WallSeconds: 200, Scenarios: []report.Scenario{
		{Name: "late", Lane: 1, Began: ref(second(100)), Ended: ref(second(150))},
		{Name: "beside", Lane: 2, Began: ref(second(20)), Ended: ref(second(120))},
		{Name: "early", Lane: 1, Began: ref(second(20)), Ended: ref(second(100))},
		{Name: "never"},
	}}
	want := []laneView{
		{"early", "20 s to 100 s", 1, 10, 40}, {"late", "100 s to 150 s", 1, 50, 25}, {"beside", "20 s to 120 s", 2, 10, 50},
	}
	if got := laned(s); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestAborted sees why a scenario was aborted on the page, and what to do about it.
func TestAborted(t *testing.T) {
	dir, s := made(t, t.TempDir(), "run", 1)
	sc := &s.Scenarios[0]
	sc.Aborted = &report.Abort{Expression: "up < 1", Value: "0", At: epoch}
	sc.Criteria = sc.Criteria[:1]
	sc.Criteria[0].Verdict, sc.Criteria[0].Measured = report.Aborted, nil
	if err := report.Write(dir, s, types.Report{}); err != nil {
		t.Fatal(err)
	}
	p := written(t, dir)
	for _, want := range []string{`<h1><span class="verdict aborted">`, "up &lt; 1 is 0", "<details open>", "Run again"} {
		if !strings.Contains(p, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
