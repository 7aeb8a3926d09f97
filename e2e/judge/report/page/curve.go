package page

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// bar is the number that a criterion holds a curve against.
type bar struct {
	id    string
	value float64
}

// barsOf are those of the criteria that were judged by a curve alone, in its own unit.
func barsOf(sc report.Scenario, curve report.Curve) []bar {
	var bars []bar
	for _, c := range sc.Criteria {
		relation, number, _ := strings.Cut(c.Expected, " ")
		var v float64
		if _, err := fmt.Sscanf(number, "%g", &v); err != nil || v == 0 || (relation != "≥" && relation != "=") || len(c.Queries) != 1 || c.Unit == "s" {
			continue
		}
		if strings.HasPrefix(c.Queries[0], curve.Selector) {
			bars = append(bars, bar{c.ID + ": " + c.Wanted(), v})
		}
	}
	return bars
}

// curvePanel draws a metric in each pod.
func (e evidence) curvePanel(c clock, bands []band, curve report.Curve, bars []bar) panel {
	p := newPlot(c, bands)
	start := c.at(e.timeline.Start)
	var words []string
	for _, name := range slices.Sorted(maps.Keys(curve.Pods)) {
		var points plotter.XYs
		for _, v := range curve.Pods[name] {
			points = append(points, plotter.XY{X: start + v[0], Y: v[1]})
		}
		points = extremes(points)
		if len(points) == 0 {
			continue
		}
		p.Add(line(pod(e.lineOf(name)), points))
		words = append(words, fmt.Sprintf("%s from %.4g to %.4g", cmp.Or(name, "all"), points[0].Y, points[len(points)-1].Y))
	}
	p.Y.Min = min(0, p.Y.Min)
	if p.Y.Max <= p.Y.Min { // it was 0 all the time
		p.Y.Max = p.Y.Min + 1
	}
	for _, b := range bars {
		p.Add(line(draw.LineStyle{Color: tone(toneBar), Width: 2, Dashes: []vg.Length{10, 4}}, plotter.XYs{{X: c.from, Y: b.value}, {X: c.to, Y: b.value}}))
		words = append(words, "the bar of "+b.id)
	}
	p.Y.Label.Text = unitOf(curve)
	title := nameOf(curve)
	for _, b := range bars {
		title += "; bar (long dashes) " + b.id
	}
	return panel{title, strings.Join(words, ", "), chartHeight, p}
}

// mostPoints is how many points of a line are drawn, about: the page has room for no more.
const mostPoints = 150

// extremes returns a line of at most mostPoints points with the shape of another: of each
// stretch of it the least and the most, and its ends.
func extremes(points plotter.XYs) plotter.XYs {
	if len(points) <= mostPoints {
		return points
	}
	kept := plotter.XYs{points[0]}
	inner := points[1 : len(points)-1]
	for part := range slices.Chunk(inner, 1+(len(inner)-1)/(mostPoints/2-1)) {
		least, most := 0, 0
		for i, p := range part {
			if p.Y < part[least].Y {
				least = i
			}
			if p.Y >= part[most].Y {
				most = i
			}
		}
		kept = append(kept, part[min(least, most)])
		if least != most {
			kept = append(kept, part[max(least, most)])
		}
	}
	return append(kept, points[len(points)-1])
}

// lineOf is which line a pod has, the same in every chart of the scenario.
func (e evidence) lineOf(name string) int {
	if i := slices.Index(e.timeline.Nodes, name); i >= 0 {
		return i
	}
	return len(e.timeline.Nodes)
}

// nameOf is a curve's selector without its namespace, which is that of the scenario.
func nameOf(c report.Curve) string {
	name, labels, _ := strings.Cut(strings.TrimSuffix(c.Selector, "}"), "{")
	var kept []string
	for l := range strings.SplitSeq(labels, ",") {
		if l != "" && !strings.HasPrefix(l, "namespace=") {
			kept = append(kept, l)
		}
	}
	if name, bucket := strings.CutSuffix(name, "_bucket"); bucket {
		return "median of " + name
	}
	if len(kept) > 0 {
		return name + " {" + strings.Join(kept, ", ") + "}"
	}
	return name
}

// unitOf is that of a curve by the name of its metric, as Prometheus' conventions have it.
func unitOf(c report.Curve) string {
	name, _, _ := strings.Cut(c.Selector, "{")
	name = strings.TrimSuffix(name, "_bucket")
	switch {
	case strings.HasSuffix(name, "_seconds"), strings.HasSuffix(name, "_seconds_total"):
		return "s"
	case strings.HasSuffix(name, "_bytes"):
		return "bytes"
	case strings.HasSuffix(name, "_ratio"):
		return "share"
	}
	return "count"
}
