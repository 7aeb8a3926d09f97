package page

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// reactionPanel holds how long each reaction of a scenario took against the time that its
// criterion allows: in percent of it, so that seconds and minutes fit on one axis. It is
// false where no such time was measured.
func reactionPanel(criteria []report.Criterion) (panel, bool) {
	var names, words []string
	var shares []float64
	for _, c := range criteria {
		m, ok := c.Margin()
		if !ok || c.Unit != "s" || !strings.HasPrefix(c.Expected, "≤") {
			continue
		}
		names = append(names, c.ID+" "+c.Wanted())
		words = append(words, fmt.Sprintf("%s took %s of %s", c.ID, c.Got(), strings.TrimPrefix(c.Wanted(), "≤ ")))
		shares = append(shares, max(0, 100*(1-m)))
	}
	if len(names) == 0 {
		return panel{}, false
	}
	p := newPlot(clock{to: max(110, 1.05*slices.Max(shares)), label: "% of the time that is allowed"}, nil)
	top := float64(len(shares)) - 0.4
	for i, share := range shares {
		y, shade := float64(len(shares)-1-i), uint8(toneGood)
		if share > 100 {
			shade = toneBad
		}
		p.Add(line(draw.LineStyle{Color: tone(shade), Width: 6}, plotter.XYs{{X: 0, Y: y}, {X: share, Y: y}}))
		p.Add(marks(draw.CircleGlyph{}, toneInk, plotter.XYs{{X: share, Y: y}})) // what took next to no time has a mark, too
	}
	p.Add(line(barStyle, plotter.XYs{{X: 100, Y: -0.6}, {X: 100, Y: top}}))
	slices.Reverse(names)
	lanes(p, names)
	return panel{"Reactions ●, the slowest of each, and their bars (long dashes)", strings.Join(words, ", "), laneHeight(len(names)), p}, true
}
