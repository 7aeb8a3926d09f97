package page

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is one drawing, and in words what is to be seen in it.
type chart struct {
	Title string
	Alt   string
	SVG   template.HTML
}

// panel is a chart before it is drawn.
type panel struct {
	title, alt string
	height     vg.Length
	plot       *plot.Plot
}

// Sizes of a chart in its own units, which are pixels on a page that is wide enough.
const (
	width    = 900
	fontSize = 11
)

// Tones are colours that the page decides: light and dark differ. In a drawing they are
// stand-ins, which no real colour of it can be taken for, since it has none.
const (
	toneInk  = 1 + iota // text and axes
	toneGrid            // lines of the grid
	toneBand            // the time in which a fault was in
	toneBar             // a criterion's bar
	toneGood
	toneRetry
	toneBad
	toneLine = 10 // the first of the lines of several pods
	lines    = 8  // how many of them there are, by colour and dash
)

// marker is what stand-ins end with.
const marker = "5E7A"

func tone(n uint8) color.Color { return color.RGBA{R: n, G: 0x5e, B: 0x7a, A: 0xff} }

// pod is the line of the n-th of several pods: no two differ by colour alone.
func pod(n int) draw.LineStyle {
	dashes := [][]vg.Length{nil, {6, 2}, {2, 2}, {8, 2, 2, 2}}
	return draw.LineStyle{Color: tone(uint8(toneLine + n%lines)), Width: 1.5, Dashes: dashes[n%len(dashes)]}
}

// newPlot returns an empty plot over the scenario's time, in which its faults are bands.
func newPlot(c clock, bands []band) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Min, p.X.Max = c.from, c.to
	p.X.Label.Text = c.label
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color, axis.Tick.Color = tone(toneInk), tone(toneInk)
		for _, s := range []*draw.TextStyle{&axis.Label.TextStyle, &axis.Tick.Label} {
			s.Color, s.Font.Variant, s.Font.Size = tone(toneInk), "Sans", fontSize
		}
	}
	p.X.Tick.Marker = plot.TickerFunc(wholeSeconds)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = tone(toneGrid), tone(toneGrid)
	for _, b := range bands {
		p.Add(b)
	}
	p.Add(grid)
	return p
}

// wholeSeconds are ticks of an axis at round times, zero among them.
func wholeSeconds(from, to float64) []plot.Tick {
	const most = 12
	step := 600.0
	for _, s := range []float64{1, 2, 5, 10, 15, 20, 30, 60, 120, 300} {
		if (to-from)/s <= most {
			step = s
			break
		}
	}
	var ticks []plot.Tick
	for at := math.Ceil(from/step) * step; at <= to; at += step {
		ticks = append(ticks, plot.Tick{Value: at, Label: strconv.FormatFloat(at+0, 'f', 0, 64)}) // + 0: there is no -0
	}
	return ticks
}

// band is a stretch of time, over the whole height.
type band struct{ from, to float64 }

// Plot draws it; it is a plot.Plotter.
func (b band) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	from, to := max(x(b.from), c.Min.X), min(x(b.to), c.Max.X)
	if to > from {
		c.FillPolygon(tone(toneBand), []vg.Point{{X: from, Y: c.Min.Y}, {X: to, Y: c.Min.Y}, {X: to, Y: c.Max.Y}, {X: from, Y: c.Max.Y}})
		// It is faint, since lines over it have to be seen: who does not see it sees its edges.
		edge := draw.LineStyle{Color: tone(toneBad), Width: 1, Dashes: []vg.Length{2, 2}}
		c.StrokeLine2(edge, from, c.Min.Y, from, c.Max.Y)
		c.StrokeLine2(edge, to, c.Min.Y, to, c.Max.Y)
	}
}

// drawn draws panels below each other, so that the same time is at the same place in all.
func drawn(panels []panel) ([]chart, error) {
	var left vg.Length
	margins := make([]vg.Length, len(panels))
	for i, p := range panels {
		canvas := draw.NewCanvas(vgsvg.New(width, p.height), width, p.height)
		margins[i] = p.plot.DataCanvas(canvas).Min.X
		left = max(left, margins[i])
	}
	var charts []chart
	for i, p := range panels {
		svg := vgsvg.New(width, p.height)
		// Room at the right for half of the last label of the axis.
		p.plot.Draw(draw.Crop(draw.New(svg), left-margins[i], -2*fontSize, 0, -fontSize/2))
		var b bytes.Buffer
		if _, err := svg.WriteTo(&b); err != nil {
			return nil, fmt.Errorf("chart %s: %w", p.title, err)
		}
		inline, err := inlined(b.String(), p.title+": "+p.alt)
		if err != nil {
			return nil, fmt.Errorf("chart %s: %w", p.title, err)
		}
		charts = append(charts, chart{Title: p.title, Alt: p.alt, SVG: inline})
	}
	return charts, nil
}

var (
	standIn = regexp.MustCompile(`#([0-9A-F]{2})` + marker)
	colours = regexp.MustCompile(`#[0-9A-Fa-f]{6}\b`)
	digits  = regexp.MustCompile(`\d+\.\d\d+`)
	root    = regexp.MustCompile(`(?s)^.*?<svg[^>]*?viewBox="([^"]*)"[^>]*>`)
	fonts   = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;`)
)

// inlined makes a drawing a part of the page: in its fonts and colours, as wide as there
// is room, and with words for whoever does not see it.
func inlined(svg, words string) (template.HTML, error) {
	box := root.FindStringSubmatch(svg)
	if box == nil {
		return "", fmt.Errorf("what was drawn has no viewBox")
	}
	svg = root.ReplaceAllString(svg, "")
	svg = fonts.ReplaceAllString(svg, "")
	svg = standIn.ReplaceAllStringFunc(svg, func(s string) string {
		var n int
		_, _ = fmt.Sscanf(s[1:3], "%X", &n) // two digits, by the pattern
		return fmt.Sprintf("var(--c%d)", n)
	})
	if left := colours.FindString(svg); left != "" {
		return "", fmt.Errorf("colour %s is none of the page's", left)
	}
	// A tenth of a pixel is enough, and the digits are most of the file.
	svg = digits.ReplaceAllStringFunc(svg, func(s string) string {
		v, _ := strconv.ParseFloat(s, 64) // a number, by the pattern
		return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
	})
	svg = strings.Join(strings.Fields(svg), " ")
	return template.HTML(fmt.Sprintf(`<svg viewBox="%s" role="img" aria-label="%s">%s`, box[1], template.HTMLEscapeString(words), svg)), nil
}
