package verdict

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

func TestWorst(t *testing.T) {
	who, took := Times{"a": time.Second, "b": 3 * time.Second, "c": 2 * time.Second}.Worst()
	if who != "b" || took != 3*time.Second {
		t.Errorf("got %s, %v", who, took)
	}
	who, took = Times{"a": -time.Second, "b": -2 * time.Second}.Worst()
	if who != "a" || took != -time.Second {
		t.Errorf("before the probe saw it: got %s, %v", who, took)
	}
}

// A reaction before its cause is no fast one.
func TestWithin(t *testing.T) {
	const bar, slack = 2 * time.Second, 500 * time.Millisecond
	for name, c := range map[string]struct {
		took Times
		want report.Verdict
		says string
	}{
		"in time":                       {Times{"a": time.Second, "b": bar}, report.Passed, ""},
		"as early as the slack":         {Times{"a": -slack, "b": time.Second}, report.Passed, ""},
		"late":                          {Times{"a": time.Second, "b": bar + time.Millisecond}, report.Failed, "b took 2.001s"},
		"before the cause":              {Times{"a": -800 * time.Millisecond}, report.Invalid, "a reacted 800ms before"},
		"before it beside one in time":  {Times{"a": time.Second, "b": -slack - 1}, report.Invalid, "b reacted"},
		"before it beside one too late": {Times{"a": time.Hour, "b": -time.Minute}, report.Invalid, "b reacted"},
		"nobody":                        {nil, report.Invalid, "nothing was measured"},
	} {
		err := c.took.Within("to react", bar, slack)
		if Of(err) != c.want || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s, %q", name, err, c.want, c.says)
		}
	}
}

func TestAtLeastAndEqual(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		reached        map[string]float64
		atLeast, equal report.Verdict // of 1
	}{
		"all":                    {map[string]float64{"a": 1, "b": 1}, report.Passed, report.Passed},
		"more":                   {map[string]float64{"a": 1, "b": 2}, report.Passed, report.Failed},
		"one less":               {map[string]float64{"a": .9, "b": 2}, report.Failed, report.Failed},
		"none":                   {nil, report.Invalid, report.Invalid},
		"NaN alone":              {map[string]float64{"a": nan}, report.Invalid, report.Invalid},
		"NaN before enough":      {map[string]float64{"a": nan, "b": 1}, report.Invalid, report.Invalid},
		"NaN after enough":       {map[string]float64{"a": 1, "b": nan}, report.Invalid, report.Invalid},
		"an infinite one":        {map[string]float64{"a": math.Inf(1)}, report.Invalid, report.Invalid},
		"NaN beside one of less": {map[string]float64{"a": 0, "b": nan}, report.Invalid, report.Invalid},
	} {
		if _, err := atLeast("x", c.reached, 1, "of them"); Of(err) != c.atLeast {
			t.Errorf("%s: at least 1: %v, want %s", name, err, c.atLeast)
		}
		if _, err := equal("x", c.reached, 1, "of them"); Of(err) != c.equal {
			t.Errorf("%s: equal to 1: %v, want %s", name, err, c.equal)
		}
	}
	if least, _ := atLeast("x", map[string]float64{"a": 4, "b": 3}, 1, ""); least != 3 {
		t.Errorf("measured %v, not the least", least)
	}
	if got, _ := equal("x", map[string]float64{"a": 1, "b": 3}, 1, ""); got != 3 {
		t.Errorf("measured %v, not the wrong one", got)
	}
}

// An entry that JSON cannot encode costs the whole report.
func TestAmountsCanBeEncoded(t *testing.T) {
	b, err := json.Marshal(Amounts{"a": math.NaN(), "b": math.Inf(-1), "c": 1.5})
	if want := `{"a":"NaN","b":"-Inf","c":1.5}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v; want %s", b, err, want)
	}
}
