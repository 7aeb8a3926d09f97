package scenario

import (
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

// A pair that loses one verification of twenty by chance passes, and one that loses most
// does not; nor does a node of which every pair loses one in ten.
func TestRatesOfPairs(t *testing.T) {
	w := prom.Window{Start: at(0), End: at(20_000)}
	before := Usual(map[string]float64{"a→b": 1.075, "a→c": 1, "b→a": 1}) // one more, by chance, in 14 s
	for name, c := range map[string]struct {
		under map[string]float64
		holds bool
	}{
		"as before":                       {map[string]float64{"a→b": 1, "a→c": 1, "b→a": 1}, true},
		"one less, by chance":             {map[string]float64{"a→b": 0.95, "a→c": 1, "b→a": 1}, true},
		"one pair loses most":             {map[string]float64{"a→b": 0.15, "a→c": 1, "b→a": 1}, false},
		"every pair of a node loses some": {map[string]float64{"a→b": 0.9, "a→c": 0.9, "b→a": 1}, false},
		"a pair of many falls silent":     {map[string]float64{"a→b": 0, "a→c": 2, "b→a": 1}, false},
	} {
		holds := true
		for _, ratios := range []map[string]float64{
			Ratios(before, OneMore(c.under, w)), Ratios(ByNode(before), ByNode(c.under)),
		} {
			for _, r := range ratios {
				holds = holds && r >= BarVerified
			}
		}
		if holds != c.holds {
			t.Errorf("%s: holds %v, want %v", name, holds, c.holds)
		}
	}
}
