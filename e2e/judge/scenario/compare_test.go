package scenario

import (
	"testing"
)

func TestComparisons(t *testing.T) {
	before, after := map[string]float64{"a": 2, "b": 0, "c": 1}, map[string]float64{"a": 3, "b": 1}
	if d := Differences(before, after); len(d) != 2 || d["a"] != 1 || d["b"] != 1 {
		t.Errorf("differences %v", d)
	}
	if r := Ratios(before, after); len(r) != 1 || r["a"] != 1.5 {
		t.Errorf("ratios %v", r)
	}
}
