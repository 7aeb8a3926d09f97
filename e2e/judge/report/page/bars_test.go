package page

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// What a drawing has of a bar, of the first pod's line and of a fault's edges: their ends.
var (
	barPath  = regexp.MustCompile(`<path d="M([0-9.]+),([0-9.]+)L([0-9.]+),([0-9.]+)"[^>]*stroke:var\(--c4\)`)
	podPath  = regexp.MustCompile(`<path d="M([0-9.]+),([0-9.]+)[^"]*L([0-9.]+),([0-9.]+)"[^>]*stroke:var\(--c10\)`)
	edgePath = regexp.MustCompile(`<path d="M([0-9.]+),([0-9.]+)L([0-9.]+),([0-9.]+)"[^>]*stroke:var\(--c7\)`)
)

// svgOf draws one panel.
func svgOf(t *testing.T, p panel) string {
	t.Helper()
	charts, err := drawn([]panel{p})
	if err != nil {
		t.Fatal(err)
	}
	return string(charts[0].SVG)
}

// ends returns where the first and only path of a kind begins and ends: x, y, x, y as they are in the file.
func ends(t *testing.T, svg string, path *regexp.Regexp) []string {
	t.Helper()
	found := path.FindAllStringSubmatch(svg, -1)
	if len(found) != 1 {
		t.Fatalf("%d paths of %s in %s", len(found), path, svg)
	}
	return found[0][1:]
}

// TestBarsAreDrawn: the bar of a criterion is where its curve has to be, from the fault to the end.
func TestBarsAreDrawn(t *testing.T) {
	c := clock{zero: epoch, to: 100, label: "s"}
	e := evidence{timeline: &report.Timeline{Start: epoch, Nodes: []string{"a"}}}
	grows := [][2]float64{{0, 2}, {30, 2}, {31, 8}, {100, 8}} // by 6, after the fault
	still := [][2]float64{{0, 2}, {100, 2}}
	for expected, of := range map[string]struct {
		points [][2]float64
		at     bool // the curve ends on its bar
	}{
		"≥ 6": {grows, true}, "= 6": {grows, true}, "≤ 6": {grows, true},
		"≥ 5": {grows, false}, "≤ 7": {grows, false}, "≥ 8": {grows, false}, // 8 is what it is at, not what it grew by
		"= 0": {still, true}, "≤ 0": {still, true}, "≤ 0.5": {still, false},
	} {
		sc := report.Scenario{Criteria: []report.Criterion{{ID: "S9.1", Bars: []report.Bar{{Metric: "m_total", Expected: expected}}}}}
		curve := report.Curve{Selector: `m_total{namespace="x"}`, Pods: map[string][][2]float64{"a": of.points}}
		p := e.curvePanel(c, []band{{20, 60}}, curve, barsOf(sc, curve))
		svg := svgOf(t, p)
		bar, pod := ends(t, svg, barPath), ends(t, svg, podPath)
		if bar[1] != bar[3] || (bar[1] == pod[3]) != of.at {
			t.Errorf("%s: the bar goes from %s to %s, the curve to %s", expected, bar[1], bar[3], pod[3])
		}
		edges := edgePath.FindAllStringSubmatch(svg, -1)
		if len(edges) != 2 || bar[0] != edges[0][1] || bar[2] != pod[2] {
			t.Errorf("%s: the bar goes from %s to %s, the curve to %s, the fault is in from %v", expected, bar[0], bar[2], pod[2], edges)
		}
		if want := "bar (long dashes) S9.1: " + expected; !strings.Contains(p.title, want) || !strings.Contains(svg, "the bar of S9.1: "+expected+", counted from 2") {
			t.Errorf("%q does not say %q, or the words lack it", p.title, want)
		}
	}
}

// TestBarsOfOthers: a bar is drawn where its criterion looked, and nowhere else.
func TestBarsOfOthers(t *testing.T) {
	curve := report.Curve{Selector: `h_seconds_bucket{namespace="x",reason="compromise",type="t"}`}
	both := map[string]string{"type": "t", "reason": "compromise"}
	for name, of := range map[string]struct {
		bar  report.Bar
		want int
	}{
		"its own":         {report.Bar{Metric: "h_seconds", Labels: both, Expected: "≥ 0.15"}, 1},
		"another metric":  {report.Bar{Metric: "h", Labels: both, Expected: "≥ 0.15"}, 0},
		"all of them":     {report.Bar{Metric: "h_seconds", Expected: "≥ 0.15"}, 0},
		"one label less":  {report.Bar{Metric: "h_seconds", Labels: map[string]string{"type": "t"}, Expected: "≥ 0.15"}, 0},
		"another value":   {report.Bar{Metric: "h_seconds", Labels: map[string]string{"type": "t", "reason": "age"}, Expected: "≥ 0.15"}, 0},
		"no number":       {report.Bar{Metric: "h_seconds", Labels: both, Expected: "yes"}, 0},
		"an infinite one": {report.Bar{Metric: "h_seconds", Labels: both, Expected: "≤ +Inf"}, 0},
	} {
		sc := report.Scenario{Criteria: []report.Criterion{{ID: "S9.1", Bars: []report.Bar{of.bar}}}}
		if got := barsOf(sc, curve); len(got) != of.want {
			t.Errorf("%s: %v", name, got)
		}
		// What has a number and no curve is told.
		_, number := of.bar.Value()
		if lost := undrawn(sc, []report.Curve{curve}); len(lost) > 0 != (number && of.want == 0) {
			t.Errorf("%s: undrawn are %v", name, lost)
		}
	}
}

// TestCurvesWithBarsComeFirst: where there are more metrics than there is room for, none with a bar is left out.
func TestCurvesWithBarsComeFirst(t *testing.T) {
	var curves []report.Curve
	for i := range mostCurves + 4 {
		curves = append(curves, report.Curve{Selector: fmt.Sprintf(`m%d{namespace="x"}`, i)})
	}
	last := curves[len(curves)-1]
	none := chosen(report.Scenario{}, curves)
	if len(none) != mostCurves || none[0].Selector != curves[0].Selector {
		t.Errorf("%d curves without a bar, at most %d: %v", len(none), mostCurves, none)
	}
	sc := report.Scenario{Criteria: []report.Criterion{{ID: "S9.1", Bars: []report.Bar{{Metric: "m19", Expected: "= 1"}}}}}
	got := chosen(sc, curves)
	if len(got) != mostCurves || got[len(got)-1].Selector != last.Selector || slices.ContainsFunc(got, func(c report.Curve) bool { return c.Selector == curves[mostCurves-1].Selector }) {
		t.Errorf("the last of %d has a bar, and these are drawn: %v", len(curves), got)
	}
}

// TestReactions: a time that is over its bar is beyond it on the chart, and told by its colour, too.
func TestReactions(t *testing.T) {
	reaction := func(measured float64) string {
		p, ok := reactionPanel([]report.Criterion{{ID: "S9.1", Expected: "≤ 2", Unit: "s", Measured: ref(measured)}})
		if !ok || !strings.Contains(p.alt, fmt.Sprintf("S9.1 took %g s of 2 s", measured)) {
			t.Fatalf("%g of 2 s: %v, %q", measured, ok, p.alt)
		}
		return svgOf(t, p)
	}
	// Lines of the colours that the page has for what is good and what is bad; the bar is upright.
	good := regexp.MustCompile(`<path d="M([0-9.]+),([0-9.]+)L([0-9.]+),([0-9.]+)"[^>]*stroke:var\(--c5\)`)
	under, at, over := reaction(1.99), reaction(2), reaction(2.01)
	bar := ends(t, at, barPath)
	if bar[0] != bar[2] || bar[1] == bar[3] {
		t.Errorf("the bar of times goes from %s to %s", bar[:2], bar[2:])
	}
	if got := ends(t, at, good); got[2] != bar[0] {
		t.Errorf("what takes all the time ends at %s, its bar is at %s", got[2], bar[0])
	}
	if ends(t, under, good)[2] == ends(t, under, barPath)[0] || len(edgePath.FindAllString(under, -1)) != 0 {
		t.Error("what is in time is shown as late")
	}
	if ends(t, over, edgePath)[2] == ends(t, over, barPath)[0] || len(good.FindAllString(over, -1)) != 0 {
		t.Error("what is late is shown as in time")
	}
	for name, c := range map[string]report.Criterion{
		"a count":        {Expected: "≤ 2", Unit: "records", Measured: ref(1.0)},
		"one from below": {Expected: "≥ 0.15", Unit: "s", Measured: ref(1.0)},
		"no bar":         {Expected: "yes", Unit: "s", Measured: ref(1.0)},
		"not measured":   {Expected: "≤ 2", Unit: "s"},
	} {
		if _, ok := reactionPanel([]report.Criterion{c}); ok {
			t.Errorf("%s is drawn as a reaction", name)
		}
	}
}
