package page

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// File is the report's name in the directory of a run.
const File = "report.html"

//go:embed page.html
var source string

var page = template.Must(template.New(File).Parse(source))

// Write makes the report of a run in its directory, from what is there. It returns the
// report's path.
func Write(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // artifacts/latest is a link
		return "", err
	}
	s, err := report.Read(dir)
	if err != nil {
		return "", fmt.Errorf("%w: is this the directory of a run, such as artifacts/latest?", err)
	}
	v, err := newView(dir, s)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, File)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	return path, errors.Join(v.write(f), f.Close())
}

// view is what the template shows.
type view struct {
	*report.Summary
	Run       string // its directory's name
	State     string // the verdict of the whole
	Wall      string
	Memory    string
	Control   string
	Scenarios []scenarioView
	Lanes     []laneView
}

func (v *view) write(w io.Writer) error { return page.Execute(w, v) }

type scenarioView struct {
	report.Scenario
	State     string
	Tally     string
	Charts    []chart
	Unshown   int      // metrics that there is no room for
	Undrawn   []string // bars without a metric
	Times     []chart  // reactions against their bars
	Pods      []podView
	Incidents []incidentView
	Criteria  []criterionView
	Trouble   string // what of the artefacts could not be read
}

// podView is a line of the legend.
type podView struct {
	Name, Dashes string
	Tone         int
}

type incidentView struct{ Node, Type, Peers, Opened, Took string }

func newView(dir string, s *report.Summary) (*view, error) {
	past, most := readHistory(dir, s), room(s)
	v := &view{Summary: s, Run: filepath.Base(dir), State: state(s.Count()), Control: past.worth(),
		Wall: seconds(s.WallSeconds).Round(time.Second).String(), Memory: fmt.Sprintf("%.0f GiB", float64(s.Machine.Memory)/(1<<30))}
	for _, sc := range s.Scenarios {
		e, trouble := readEvidence(filepath.Join(dir, sc.Name))
		sv := scenarioView{Scenario: sc, State: state(sc.Count()), Tally: tally(sc.Count())}
		if trouble != nil {
			sv.Trouble = trouble.Error()
		}
		c, ok := e.clock(sc)
		if ok {
			charts, err := drawn(e.panels(sc, c))
			if err != nil {
				return nil, fmt.Errorf("scenario %s: %w", sc.Name, err)
			}
			sv.Charts, sv.Pods, sv.Incidents = charts, e.legend(), e.incidents(c)
			if e.timeline != nil {
				sv.Unshown = len(e.timeline.Curves) - len(chosen(sc, e.timeline.Curves))
				sv.Undrawn = undrawn(sc, e.timeline.Curves)
			}
		}
		if p, ok := reactionPanel(sc.Criteria); ok {
			charts, err := drawn([]panel{p})
			if err != nil {
				return nil, fmt.Errorf("scenario %s: %w", sc.Name, err)
			}
			sv.Times = charts
		}
		for _, k := range sc.Criteria {
			sv.Criteria = append(sv.Criteria, newCriterion(s, sc, k, past.of(sc.Name, k.ID), e, c, most))
		}
		v.Scenarios = append(v.Scenarios, sv)
	}
	v.Lanes = laned(s)
	return v, nil
}

// laneView is a scenario's place in its lane; Left and Width are percent of the run.
type laneView struct {
	Name, When  string
	Lane        int
	Left, Width float64
}

// laned are the scenarios that ran in lanes, lane by lane.
func laned(s *report.Summary) []laneView {
	var all []laneView
	for _, sc := range s.Scenarios {
		if sc.Lane == 0 || sc.Began == nil || sc.Ended == nil || s.WallSeconds <= 0 {
			continue
		}
		from, to := sc.Began.Sub(s.Started).Seconds(), sc.Ended.Sub(s.Started).Seconds()
		all = append(all, laneView{sc.Name, fmt.Sprintf("%.0f s to %.0f s", from, to), sc.Lane, 100 * from / s.WallSeconds, 100 * (to - from) / s.WallSeconds})
	}
	slices.SortStableFunc(all, func(a, b laneView) int { return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.Left, b.Left)) })
	return all
}

// state is the verdict that outweighs the others.
func state(n map[report.Verdict]int) string {
	for _, v := range []report.Verdict{report.Failed, report.Aborted, report.Invalid, report.Passed, report.NotSupported} {
		if n[v] > 0 {
			return string(v)
		}
	}
	return string(report.Invalid) // nothing was judged
}

func tally(n map[report.Verdict]int) string {
	var words []string
	for _, v := range []report.Verdict{report.Failed, report.Aborted, report.Invalid, report.NotSupported, report.Passed} {
		if n[v] > 0 {
			words = append(words, fmt.Sprintf("%d %s", n[v], v))
		}
	}
	return strings.Join(words, ", ")
}

// worth says how the last controls went: what has to fail in them, and whether it did, is what
// a pass is worth.
func (h history) worth() string {
	words := "There is no score of controls here: make e2e-controls runs scenarios in which criteria have to fail."
	if h.score != nil {
		words = "The last " + h.score.String() + "."
	}
	if h.control != nil {
		words += fmt.Sprintf(" In the last run with the loop off, of %s, in which nothing heals: %s.", h.control.Started.UTC().Format(time.DateTime), tally(h.control.Count()))
	}
	return words
}

// legend says which line is which pod's.
func (e evidence) legend() []podView {
	if e.timeline == nil || len(e.timeline.Curves) == 0 {
		return nil
	}
	var pods []podView
	for i, name := range append(e.timeline.Nodes, "others") {
		style := pod(i)
		var dashes []string
		for _, d := range style.Dashes {
			dashes = append(dashes, fmt.Sprint(d.Points()))
		}
		pods = append(pods, podView{name, strings.Join(dashes, " "), toneLine + i%lines})
	}
	return pods
}

// incidents are those of all nodes within the axis.
func (e evidence) incidents(c clock) []incidentView {
	var all []incidentView
	for _, n := range e.nodes() {
		var own []event.Entry
		for _, j := range e.journal {
			if j.Node == n {
				own = append(own, j)
			}
		}
		for _, i := range journal.Incidents(own, c.zero.Add(seconds(c.from)), c.zero.Add(seconds(c.to))) {
			took := "open"
			if !i.Resolved.IsZero() {
				took = fmt.Sprintf("%.1f s", i.Resolved.Sub(i.Opened).Seconds())
			}
			all = append(all, incidentView{n, strings.Join(i.Types, " → "), strings.Join(i.Peers, ", "), fmt.Sprintf("%+.2f s", c.at(i.Opened)), took})
		}
	}
	return all
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
