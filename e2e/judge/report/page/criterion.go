package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// mostEntries bounds the journal that is shown around a criterion that did not pass, and mostLines
// those of the whole page, which is to be sent.
const (
	mostEntries = 150
	mostLines   = 3000
)

type criterionView struct {
	report.Criterion
	Margin  string
	Gauge   *gauge
	History []pastView
	// Of one that did not pass only.
	Rerun   string
	Journal []string
}

// gauge is a bar and what was measured, in hundredths of what is shown.
type gauge struct{ Measured, Bar float64 }

// pastView is what an earlier run found.
type pastView struct{ When, Verdict, Got string }

// room is how many lines of a journal each criterion that did not pass may have.
func room(s *report.Summary) int {
	n := 0
	for _, sc := range s.Scenarios {
		for _, c := range sc.Criteria {
			if troubled(c) {
				n++
			}
		}
	}
	return max(1, min(mostEntries, mostLines/max(1, n)))
}

// troubled reports whether somebody will ask why a criterion did not pass.
func troubled(c report.Criterion) bool {
	return c.Verdict == report.Failed || c.Verdict == report.Invalid || c.Verdict == report.Aborted
}

func newCriterion(s *report.Summary, sc report.Scenario, c report.Criterion, past []report.Criterion, e evidence, k clock, most int) criterionView {
	v := criterionView{Criterion: c}
	if m, ok := c.Margin(); ok {
		v.Margin = fmt.Sprintf("%.0f %% of the bar to spare", m*100)
		if m < 0 {
			v.Margin = fmt.Sprintf("%.0f %% of the bar beyond it", -m*100)
		}
		v.Gauge = newGauge(c, m)
	}
	for _, p := range past {
		when := "at an unknown time"
		if p.Started != nil {
			when = p.Started.UTC().Format("2006-01-02 15:04")
		}
		v.History = append(v.History, pastView{when, string(p.Verdict), p.Got()})
	}
	if troubled(c) {
		v.Rerun = rerun(s, sc, c)
		v.Journal = e.around(c, sc, k, most)
	}
	return v
}

// newGauge scales a measurement and its bar to the larger of the two.
func newGauge(c report.Criterion, margin float64) *gauge {
	bar := *c.Measured / (1 - margin)
	if strings.HasPrefix(c.Expected, "≥") {
		bar = *c.Measured / (1 + margin)
	}
	if !(bar > 0) { // measured 0 of a bar: it is at the end of the scale
		return &gauge{0, 90}
	}
	most := max(bar, *c.Measured)
	return &gauge{max(0, 90**c.Measured/most), 90 * bar / most}
}

// rerun is the command that judges a criterion again.
func rerun(s *report.Summary, sc report.Scenario, c report.Criterion) string {
	args := fmt.Sprintf("-ginkgo.label-filter='%s && %s'", sc.Name, c.ID)
	if s.Mapek == "off" {
		args += " -mapek=off"
	}
	if s.Control != "" {
		args += " -control=" + s.Control
	}
	return fmt.Sprintf("make e2e PROFILE=%s ARGS=\"%s\"", s.Profile, args)
}

// around is the journal of all nodes from shortly before the fault, or the criterion where
// there is none, to the criterion's end: the last lines of it, at most so many, the first of which
// then says what was cut.
func (e evidence) around(c report.Criterion, sc report.Scenario, k clock, most int) []string {
	end := ended(c)
	if end.IsZero() {
		return nil
	}
	from := c.Started.Add(-5 * time.Second)
	if f := sc.Fault.Injected; f != nil && f.Before(from) {
		from = f.Add(-2 * time.Second)
	}
	var lines []string
	for _, j := range e.journal {
		if j.Time.Before(from) || j.Time.After(end.Add(time.Second)) {
			continue
		}
		lines = append(lines, entryLine(k, j))
	}
	if len(lines) > most {
		cut := len(lines) - most + 1
		lines = append([]string{fmt.Sprintf("… %d entries before these are in journal/", cut)}, lines[cut:]...)
	}
	return lines
}

// entryLine is an entry of a journal in one line.
func entryLine(k clock, j event.Entry) string {
	words := []string{fmt.Sprintf("%+8.3f s", k.at(j.Time)), j.Node, string(j.Phase), j.Kind, j.Subject}
	for _, name := range slices.Sorted(maps.Keys(j.Detail)) {
		words = append(words, name+"="+j.Detail[name])
	}
	if j.Incident != "" {
		words = append(words, "("+j.Incident+")")
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}
