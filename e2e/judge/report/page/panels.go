package page

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// mostCurves bounds the metrics of a scenario without a bar in them, mostMarks the entries of a phase that are
// drawn for a node: more of them lie upon each other.
const (
	mostCurves = 16
	mostMarks  = 60
)

// panels are the charts of a scenario, in the order in which things come about: the fault,
// what the loop made of it, what users and the outside view saw, and what was counted.
func (e evidence) panels(sc report.Scenario, c clock) []panel {
	var bands []band
	faults := e.faults(sc)
	for _, f := range faults {
		bands = append(bands, band{c.at(f.Applied), c.end(f)})
	}
	var all []panel
	if len(faults) > 0 {
		all = append(all, faultPanel(c, bands, faults))
	}
	if nodes := e.nodes(); len(nodes) > 0 {
		all = append(all, e.loopPanel(c, bands, nodes))
	}
	if len(e.ops) > 0 {
		all = append(all, e.clientPanel(c, bands))
	}
	if len(e.probes) > 0 {
		all = append(all, e.probePanel(c, bands))
	}
	if e.timeline != nil {
		for _, curve := range chosen(sc, e.timeline.Curves) {
			all = append(all, e.curvePanel(c, bands, curve, barsOf(sc, curve)))
		}
	}
	return all
}

// end is when a fault was over, on the axis; one that never was lasts to its end.
func (c clock) end(f report.Span) float64 {
	switch {
	case f.Ended != nil:
		return c.at(*f.Ended)
	case f.Recovered != nil:
		return c.at(*f.Recovered)
	}
	return c.to
}

// nodes are those with a journal, sorted.
func (e evidence) nodes() []string {
	var nodes []string
	for _, j := range e.journal {
		nodes = append(nodes, j.Node)
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

func faultPanel(c clock, bands []band, faults []report.Span) panel {
	p := newPlot(c, bands)
	var names, words []string
	for i, f := range faults {
		y := float64(len(faults) - 1 - i)
		name := f.Name[strings.LastIndex(f.Name, " ")+1:] // without the scenario's
		names = append(names, name)
		to := c.end(f)
		words = append(words, fmt.Sprintf("%s from %+.1f s to %+.1f s%s", name, c.at(f.Applied), to, victims(f)))
		p.Add(line(draw.LineStyle{Color: tone(toneBad), Width: 6}, plotter.XYs{{X: c.at(f.Applied), Y: y}, {X: to, Y: y}}))
		for _, at := range []struct {
			what  string
			t     *time.Time
			shape draw.GlyphDrawer
		}{{"injected", f.Injected, draw.PyramidGlyph{}}, {"proven", f.Proven, draw.CircleGlyph{}}, {"recovered", f.Recovered, draw.BoxGlyph{}}} {
			if at.t != nil {
				words = append(words, fmt.Sprintf("%s at %+.1f s", at.what, c.at(*at.t)))
				p.Add(marks(at.shape, toneInk, plotter.XYs{{X: c.at(*at.t), Y: y}}))
			}
		}
	}
	slices.Reverse(names)
	lanes(p, names)
	return panel{"Faults: applied, injected ▲, proven from outside ●, recovered ■", strings.Join(words, ", "), laneHeight(len(names)), p}
}

func victims(f report.Span) string {
	if len(f.Victims) == 0 {
		return ""
	}
	return " in " + strings.Join(f.Victims, ", ")
}

// phases are those of the loop, and how each is marked.
var phases = []struct {
	phase event.Phase
	shape draw.GlyphDrawer
	sign  string
}{
	{event.Monitor, draw.CircleGlyph{}, "●"},
	{event.Analyze, draw.PyramidGlyph{}, "▲"},
	{event.Plan, draw.BoxGlyph{}, "■"},
	{event.Execute, draw.CrossGlyph{}, "×"},
	{event.Knowledge, draw.RingGlyph{}, "○"},
}

// loopPanel has a lane for each node, and in it a line for each phase: what belongs to an
// incident.
func (e evidence) loopPanel(c clock, bands []band, nodes []string) panel {
	p := newPlot(c, bands)
	title := "Incidents by node and phase:"
	count := map[string]int{}
	for k, ph := range phases {
		title += fmt.Sprintf(" %s %s", ph.phase, ph.sign)
		var at plotter.XYs
		for i, n := range nodes {
			var own plotter.XYs
			for _, j := range e.journal {
				if j.Node == n && j.Phase == ph.phase && j.Incident != "" && c.has(j.Time) {
					own = append(own, plotter.XY{X: c.at(j.Time), Y: float64(len(nodes)-1-i) + 0.3 - 0.15*float64(k)})
					count[n]++
				}
			}
			at = append(at, apart(own, (c.to-c.from)/mostMarks)...)
		}
		if len(at) > 0 {
			p.Add(marks(ph.shape, uint8(toneLine+k), at))
		}
	}
	var words []string
	for _, n := range nodes {
		words = append(words, fmt.Sprintf("%s %d entries", n, count[n]))
	}
	slices.Reverse(nodes)
	lanes(p, nodes)
	return panel{title, strings.Join(words, ", ") + "; the incidents are in the table below", laneHeight(2 * len(nodes)), p}
}

// apart leaves out what comes sooner than a distance after what was kept.
func apart(points plotter.XYs, distance float64) plotter.XYs {
	var kept plotter.XYs
	for _, p := range points {
		if n := len(kept); n == 0 || p.X-kept[n-1].X >= distance {
			kept = append(kept, p)
		}
	}
	return kept
}

const chartHeight = 150

func laneHeight(n int) vg.Length { return 55 + vg.Length(n)*16 }

// lanes gives the axis a name for each lane, from below.
func lanes(p *plot.Plot, names []string) {
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.6, float64(len(names))-0.4
}

func line(style draw.LineStyle, points plotter.XYs) *plotter.Line {
	return &plotter.Line{XYs: points, LineStyle: style}
}

func steps(style draw.LineStyle, points plotter.XYs) *plotter.Line {
	return &plotter.Line{XYs: points, LineStyle: style, StepStyle: plotter.PostStep}
}

func marks(shape draw.GlyphDrawer, n uint8, points plotter.XYs) *plotter.Scatter {
	return &plotter.Scatter{XYs: points, GlyphStyle: draw.GlyphStyle{Color: tone(n), Radius: 3.5, Shape: shape}}
}
