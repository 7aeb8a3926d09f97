package scenario

import (
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

func TestSpiked(t *testing.T) {
	for name, c := range map[string]struct {
		before, under prom.Range
		want          bool
	}{
		"a loop that comes late, and came late once before": {prom.Range{Most: .156, Median: .001}, prom.Range{Most: .066, Median: .02}, true},
		"one late value under the stress":                   {prom.Range{Most: .002, Median: .001}, prom.Range{Most: .2, Median: .001}, false},
		"noise":                                             {prom.Range{Most: .002, Median: .001}, prom.Range{Most: .003, Median: .0015}, false},
		"nothing waits":                                     {prom.Range{}, prom.Range{}, false},
		"nothing waited, and now most does":                 {prom.Range{}, prom.Range{Most: .1, Median: .01}, true},
		"nothing waited, and now some does":                 {prom.Range{}, prom.Range{Most: .1}, false},
	} {
		if got := spiked(c.before, c.under); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
