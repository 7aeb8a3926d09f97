package page

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// bucket ends the name of a histogram's series.
const bucket = "_bucket"

// bar is the number that a criterion holds the growth of a curve against.
type bar struct {
	words string
	value float64
}

// barsOf are those of the criteria that asked for just what a curve shows.
func barsOf(sc report.Scenario, curve report.Curve) []bar {
	var bars []bar
	for _, c := range sc.Criteria {
		for _, b := range c.Bars {
			if v, ok := b.Value(); ok && shows(curve, b) {
				bars = append(bars, bar{c.ID + ": " + b.Expected, v})
			}
		}
	}
	return bars
}

// shows reports whether a curve is just what a bar is about.
func shows(curve report.Curve, b report.Bar) bool {
	name, labels := selected(curve)
	return b.Metric == strings.TrimSuffix(name, bucket) && slices.Equal(matchers(b.Labels), labels)
}

// undrawn are the criteria with a bar that none of the curves is about: it is misspelt, or its
// metric was not there.
func undrawn(sc report.Scenario, curves []report.Curve) []string {
	var ids []string
	for _, c := range sc.Criteria {
		for _, b := range c.Bars {
			if !slices.ContainsFunc(curves, func(curve report.Curve) bool { return shows(curve, b) }) {
				ids = append(ids, c.ID+" ("+b.Metric+")")
			}
		}
	}
	return ids
}

// matchers are labels as a selector has them, sorted.
func matchers(labels map[string]string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, name+"="+strconv.Quote(labels[name]))
	}
	return all
}

// chosen are the curves that are drawn, in order: those with a bar, and of the others as many as
// there is room for.
func chosen(sc report.Scenario, curves []report.Curve) []report.Curve {
	left := mostCurves
	for _, c := range curves {
		if len(barsOf(sc, c)) > 0 {
			left--
		}
	}
	var kept []report.Curve
	for _, c := range curves {
		if len(barsOf(sc, c)) == 0 {
			if left <= 0 {
				continue
			}
			left--
		}
		kept = append(kept, c)
	}
	return kept
}

// curvePanel draws a metric in each pod. A bar is about growth: it begins with the first fault, and is as far above what
// the metric was then, in the median of the pods, as the criterion has it.
func (e evidence) curvePanel(c clock, bands []band, curve report.Curve, bars []bar) panel {
	p := newPlot(c, bands)
	start, began := c.at(e.timeline.Start), c.from
	if len(bands) > 0 {
		began = bands[0].from
	}
	var before []float64
	var words []string
	for _, name := range slices.Sorted(maps.Keys(curve.Pods)) {
		var points plotter.XYs
		for _, v := range curve.Pods[name] {
			points = append(points, plotter.XY{X: start + v[0], Y: v[1]})
		}
		if len(points) == 0 {
			continue
		}
		before = append(before, valueAt(points, began))
		points = extremes(points)
		p.Add(line(pod(e.lineOf(name)), points))
		words = append(words, fmt.Sprintf("%s from %.4g to %.4g", cmp.Or(name, "all"), points[0].Y, points[len(points)-1].Y))
	}
	p.Y.Min = min(0, p.Y.Min)
	if p.Y.Max <= p.Y.Min { // it was 0 all the time
		p.Y.Max = p.Y.Min + 1
	}
	base := middle(before)
	for _, b := range bars {
		p.Add(line(barStyle, plotter.XYs{{X: began, Y: base + b.value}, {X: c.to, Y: base + b.value}}))
		words = append(words, fmt.Sprintf("the bar of %s, counted from %.3g", b.words, base))
	}
	p.Y.Label.Text = unitOf(curve)
	title := nameOf(curve)
	for _, b := range bars {
		title += "; bar (long dashes) " + b.words
	}
	return panel{title, strings.Join(words, ", "), chartHeight, p}
}

// barStyle is how every bar is drawn.
var barStyle = draw.LineStyle{Color: tone(toneBar), Width: 2, Dashes: []vg.Length{10, 4}}

// valueAt is what a line was at a time: its last point up to then, or its first.
func valueAt(points plotter.XYs, x float64) float64 {
	v := points[0].Y
	for _, p := range points {
		if p.X > x {
			break
		}
		v = p.Y
	}
	return v
}

// middle is the upper median; of nothing it is 0.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
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

// selected are the metric that a curve's selector names, and what it wants of labels, but of the namespace, which is that
// of the scenario.
func selected(c report.Curve) (name string, labels []string) {
	name, all, _ := strings.Cut(strings.TrimSuffix(c.Selector, "}"), "{")
	for l := range strings.SplitSeq(all, ",") {
		if l != "" && !strings.HasPrefix(l, "namespace=") {
			labels = append(labels, l)
		}
	}
	return name, labels
}

// nameOf is what a curve shows.
func nameOf(c report.Curve) string {
	name, labels := selected(c)
	if histogram, ok := strings.CutSuffix(name, bucket); ok {
		return "median of " + histogram
	}
	if len(labels) > 0 {
		return name + " {" + strings.Join(labels, ", ") + "}"
	}
	return name
}

// unitOf is that of a curve by the name of its metric, as Prometheus' conventions have it.
func unitOf(c report.Curve) string {
	name, _ := selected(c)
	name = strings.TrimSuffix(name, bucket)
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
