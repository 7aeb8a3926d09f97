package live

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

const (
	// leastLog is how many rows the log has at least, with its rule, on a screen that is high enough.
	leastLog = 6
	// cellWidth is how wide a criterion is at least.
	cellWidth = 26
	// labelWidth is how wide what a row is about is.
	labelWidth = 9
)

// Screen draws a state at a time on so many columns and rows: a block for each lane, which
// scenarios wait or are over, and the log.
func Screen(s State, now time.Time, width, height int, t Theme) string {
	rows := []string{s.header(now, t)}
	busy, others := s.busy(), s.others(t)
	room := height - len(rows) - len(others) - leastLog
	for i, sc := range busy {
		block := sc.block(now, width, max(1, room/(len(busy)-i)), t)
		rows, room = append(rows, block...), room-len(block)
	}
	rows = append(rows, others...)
	if left := height - len(rows); left > 1 {
		rows = append(rows, rule("log", width, t))
		rows = append(rows, s.Log[max(0, len(s.Log)-left+1):]...)
	}
	rows = rows[:min(len(rows), height)]
	for i := range rows {
		rows[i] = fit(rows[i], width)
	}
	return strings.Join(rows, "\n")
}

// header tells how far the whole run is.
func (s State) header(now time.Time, t Theme) string {
	over, n := 0, map[report.Verdict]int{}
	for _, sc := range s.Scenarios {
		if !sc.Ended.IsZero() {
			over++
		}
		for v, k := range sc.Count() {
			n[v] += k
		}
	}
	words := []string{t.title.Render(s.Title) + clock(now.Sub(s.Started)), fmt.Sprintf("%d of %d over", over, len(s.Scenarios))}
	for _, v := range verdicts {
		if n[v] > 0 || v == report.Passed {
			words = append(words, t.verdict(v).Render(fmt.Sprintf("%d %s", n[v], v)))
		}
	}
	return strings.Join(words, "  ")
}

// verdicts are in the order in which they are counted.
var verdicts = []report.Verdict{report.Passed, report.Failed, report.Aborted, report.Invalid, report.NotSupported}

// others are the scenarios that have no lane: they wait for one, or are over. There is a row
// for each sort that there is.
func (s State) others(t Theme) (rows []string) {
	var waiting, over []string
	for _, sc := range s.Scenarios {
		switch {
		case sc.Began.IsZero():
			waiting = append(waiting, sc.Name)
		case !sc.Ended.IsZero():
			v := sc.worst()
			over = append(over, t.verdict(v).Render(mark(v)+" "+sc.Name))
		}
	}
	for _, r := range []struct {
		label string
		names []string
	}{{"waiting", waiting}, {"over", over}} {
		if len(r.names) > 0 {
			rows = append(rows, label(r.label, strings.Join(r.names, "  "), t))
		}
	}
	return rows
}

// worst is the verdict that outweighs a scenario's others. What was not judged is invalid.
func (sc Scenario) worst() report.Verdict {
	n := sc.Count()
	n[report.Invalid] += n[""]
	for _, v := range []report.Verdict{report.Failed, report.Aborted, report.Invalid, report.Passed, report.NotSupported} {
		if n[v] > 0 {
			return v
		}
	}
	return report.Invalid
}

// block is a scenario that has a lane, on so many rows at most.
func (sc Scenario) block(now time.Time, width, most int, t Theme) []string {
	judged := 0
	for v, k := range sc.Count() {
		if v != "" {
			judged += k
		}
	}
	rows := []string{
		rule(fmt.Sprintf("lane %d  %s %s  %d of %d judged", sc.Lane, sc.Name, clock(now.Sub(sc.Began)), judged, len(sc.Criteria)), width, t),
		halves(label("step", sc.Step, t), label("fault", sc.fault(now, t), t), width),
		halves(label("clients", sc.clients(t), t), label("open", sc.open(t), t), width),
	}
	if len(rows) < most {
		rows = append(rows, sc.criteria(width, most-len(rows), t)...)
	}
	return rows[:min(len(rows), most)]
}

func (sc Scenario) fault(now time.Time, t Theme) string {
	if len(sc.Faults) == 0 {
		return "none"
	}
	var words []string
	for _, f := range sc.Faults {
		how := "applied: "
		if f.Proven {
			how = "bites: "
		}
		if left := f.Until.Sub(now); left > 0 { // first, for it is what is waited for
			how = fmt.Sprintf("%.0f s left, %s", left.Seconds(), how)
		} else if !f.Until.IsZero() {
			how = "ends, " + how
		}
		words = append(words, t.warm.Render(how+f.Name))
	}
	return strings.Join(words, "; ")
}

func (sc Scenario) clients(t Theme) string {
	if sc.Traffic == nil {
		return "not seen yet"
	}
	style := t.plain
	if sc.Traffic.Failures > 0 {
		style = t.bad
	}
	return style.Render(fmt.Sprintf("%.1f operations/s, %.1f fail", sc.Traffic.Operations, sc.Traffic.Failures))
}

// open are the incidents, each type once.
func (sc Scenario) open(t Theme) string {
	if len(sc.Incidents) == 0 {
		return "no incident"
	}
	var types []string
	on := map[string][]string{}
	for _, i := range sc.Incidents {
		if on[i.Type] == nil {
			types = append(types, i.Type)
		}
		on[i.Type] = append(on[i.Type], i.Node)
	}
	slices.Sort(types)
	for i, name := range types {
		where := on[name][0]
		if n := len(on[name]); n > 1 {
			where = fmt.Sprintf("%d nodes", n)
		}
		types[i] = name + " on " + where
	}
	return t.warm.Render(strings.Join(types, ", "))
}

// criteria are cells in their order, on so many rows at most. Where they are too many, those
// that passed are only counted, and so is what is then too much.
func (sc Scenario) criteria(width, rows int, t Theme) []string {
	columns := max(1, width/cellWidth)
	most := columns * rows
	all := sc.Criteria
	var cells []string
	if passed := sc.Count()[report.Passed]; len(all) > most && passed > 0 {
		all = slices.DeleteFunc(slices.Clone(all), func(c Criterion) bool { return c.Verdict == report.Passed })
		cells = append(cells, t.verdict(report.Passed).Render(fmt.Sprintf("%s %d passed", mark(report.Passed), passed)))
	}
	for _, c := range all {
		cells = append(cells, sc.cell(c, t))
	}
	if len(cells) > most {
		more := len(cells) - most + 1
		cells = append(cells[:most-1], fmt.Sprintf("%d more", more))
	}
	var out []string
	for part := range slices.Chunk(cells, columns) {
		for i := range part {
			part[i] = column(part[i], width/columns)
		}
		out = append(out, strings.Join(part, ""))
	}
	return out
}

func (sc Scenario) cell(c Criterion, t Theme) string {
	m, style := mark(c.Verdict), t.verdict(c.Verdict)
	if c.ID == sc.Judging && c.Verdict == "" {
		m, style = "▸", t.warm
	}
	return style.Render(fmt.Sprintf("%s %-4s", m, c.ID)) + " " + c.figures()
}

// mark tells a verdict without a colour.
func mark(v report.Verdict) string {
	switch v {
	case report.Passed:
		return "✓"
	case report.Failed:
		return "✗"
	case report.Aborted:
		return "!"
	case report.Invalid:
		return "?"
	case report.NotSupported:
		return "-"
	}
	return "·"
}

func label(what, text string, t Theme) string { return t.dim.Render(column(what, labelWidth)) + text }

func rule(title string, width int, t Theme) string {
	return t.rule.Render(fit("── "+title+" "+strings.Repeat("─", width), width))
}

// halves puts two texts beside each other.
func halves(a, b string, width int) string { return column(a, width/2) + fit(b, width-width/2) }

// column is text of exactly that width, with a space at its end at least.
func column(text string, width int) string {
	text = fit(text, width-1)
	return text + strings.Repeat(" ", width-lipgloss.Width(text))
}

// fit cuts a line off at a width.
func fit(text string, width int) string {
	if width < 1 {
		return ""
	}
	return lipgloss.NewStyle().Inline(true).MaxWidth(width).Render(text)
}
