package report

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

func TestLastTimes(t *testing.T) {
	root := t.TempDir()
	for i, r := range []struct {
		profile string
		ago     time.Duration
		seconds float64
	}{{"full", 2 * time.Hour, 50}, {"full", time.Hour, 70}, {"full", 3 * time.Hour, 10}, {"quick", 0, 5}, {"full", 0, 0}} {
		dir := filepath.Join(root, string(rune('a'+i)))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		s := &Summary{Version: Version, Profile: r.profile, Started: epoch.Add(-r.ago), Phases: []Phase{{FirstSpec, r.seconds}},
			Scenarios: []Scenario{{Name: "latency", Criteria: []Criterion{{Seconds: r.seconds}, {Seconds: r.seconds}}}}}
		if err := Write(dir, s, types.Report{}); err != nil {
			t.Fatal(err)
		}
	}
	got := LastTimes(root, "full")
	if got.SetUp != 70*time.Second || got.Scenarios["latency"] != 140*time.Second { // the last that took any time
		t.Errorf("got %+v", got)
	}
	if got := LastTimes(filepath.Join(root, "none"), "full"); got.SetUp != 0 || len(got.Scenarios) != 0 {
		t.Errorf("of no runs: %+v", got)
	}
}
