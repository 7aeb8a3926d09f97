package page

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// clientPanel counts the clients' operations by the second in which each ended.
func (e evidence) clientPanel(c clock, bands []band) panel {
	first, retried, failed := map[int]int{}, map[int]int{}, map[int]int{}
	sum := [3]int{}
	for _, o := range e.ops {
		if !c.has(o.Returned) {
			continue
		}
		into, k := first, 0
		switch {
		case o.Result != api.OK:
			into, k = failed, 2
		case o.Attempts > 1:
			into, k = retried, 1
		}
		into[int(math.Floor(c.at(o.Returned)))]++
		sum[k]++
	}
	p := newPlot(c, bands)
	p.Y.Label.Text = "operations / s"
	p.Y.Min = 0
	for _, s := range []struct {
		count map[int]int
		style draw.LineStyle
	}{
		{first, draw.LineStyle{Color: tone(toneGood), Width: 1.5}},
		{retried, draw.LineStyle{Color: tone(toneRetry), Width: 1.5, Dashes: []vg.Length{6, 2}}},
		{failed, draw.LineStyle{Color: tone(toneBad), Width: 2.5}},
	} {
		p.Add(steps(s.style, perSecond(c, s.count)))
	}
	p.Y.Max = max(p.Y.Max, 1)
	return panel{"Client operations a second: at once (solid), after a retry (dashed), failed (bold)",
		fmt.Sprintf("%d at once, %d after a retry, %d failed", sum[0], sum[1], sum[2]), chartHeight, p}
}

// probePanel counts the directions between pods in which no probe is answered.
func (e evidence) probePanel(c clock, bands []band) panel {
	cut := map[int]int{}
	worst := 0
	for _, l := range e.probes {
		if !c.has(l.Time) {
			continue
		}
		second := int(math.Floor(c.at(l.Time)))
		for _, peer := range l.Peers {
			if !peer.Up {
				cut[second]++
			}
		}
		worst = max(worst, cut[second])
	}
	p := newPlot(c, bands)
	p.Y.Label.Text = "directions"
	p.Y.Min, p.Y.Max = 0, 1
	p.Add(steps(draw.LineStyle{Color: tone(toneBad), Width: 1.5}, perSecond(c, cut)))
	return panel{"Seen from outside: directions between two pods in which probes go unanswered",
		fmt.Sprintf("at most %d at once", worst), chartHeight, p}
}

// perSecond has a point for each second of the axis.
func perSecond(c clock, count map[int]int) plotter.XYs {
	var points plotter.XYs
	for s := int(math.Floor(c.from)); s <= int(c.to); s++ {
		v := float64(count[s])
		if n := len(points); n > 1 && s < int(c.to) && points[n-1].Y == v && points[n-2].Y == v {
			points = points[:n-1]
		}
		points = append(points, plotter.XY{X: max(float64(s), c.from), Y: v})
	}
	return points
}
