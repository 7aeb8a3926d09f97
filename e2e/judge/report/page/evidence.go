package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/observe/probe/echo"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// evidence is what the artefacts of a scenario hold. What is missing is empty: a scenario
// may never have begun, and has no probes if it asks for none.
type evidence struct {
	timeline *report.Timeline
	journal  []event.Entry // of all nodes, by time
	ops      []api.Operation
	probes   []echo.Line // states only
}

// readEvidence reads a scenario's directory. What cannot be read is left out, and the
// error says so: the rest is worth showing.
func readEvidence(dir string) (evidence, error) {
	var e evidence
	var errs []error
	var err error
	e.timeline, err = report.ReadTimeline(dir)
	errs = append(errs, err)
	for _, path := range files(dir, "journal", ".jsonl") {
		entries, err := readLines[event.Entry](path)
		e.journal, errs = append(e.journal, entries...), append(errs, err)
	}
	slices.SortStableFunc(e.journal, func(a, b event.Entry) int { return a.Time.Compare(b.Time) })
	ops, err := readLines[api.Operation](filepath.Join(dir, "history.jsonl"))
	e.ops, errs = ops, append(errs, err)
	for _, path := range files(dir, "pods", ".outside-probe.log") {
		lines, err := readLines[echo.Line](path)
		errs = append(errs, err)
		for _, l := range lines {
			if l.Kind == echo.State {
				e.probes = append(e.probes, l)
			}
		}
	}
	return e, errors.Join(errs...)
}

// files are those of a directory with a suffix, sorted.
func files(dir, sub, suffix string) []string {
	var paths []string
	entries, _ := os.ReadDir(filepath.Join(dir, sub)) // none is as good as empty
	for _, f := range entries {
		if strings.HasSuffix(f.Name(), suffix) {
			paths = append(paths, filepath.Join(dir, sub, f.Name()))
		}
	}
	return paths
}

// readLines reads a file of JSON lines; one that is not there has none.
func readLines[T any](path string) ([]T, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []T
	d := json.NewDecoder(f)
	for {
		var v T
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return all, fmt.Errorf("%s after %d lines: %w", filepath.Base(path), len(all), err)
		}
		all = append(all, v)
	}
}

// faults are those of the scenario; of a run that kept no timeline there is one at most.
func (e evidence) faults(sc report.Scenario) []report.Span {
	if e.timeline != nil {
		return e.timeline.Faults
	}
	if sc.Fault.Injected == nil {
		return nil
	}
	return []report.Span{{Name: "fault", Applied: *sc.Fault.Injected, Fault: sc.Fault, Ended: sc.Fault.Recovered}}
}

// clock is the time axis that all charts of a scenario share, in seconds since zero.
type clock struct {
	zero     time.Time
	from, to float64
	label    string
}

// before and after are what is shown around the criteria of a run without a timeline.
const before, after = 15 * time.Second, 10 * time.Second

// clock returns the scenario's axis. It is false if there is nothing to show.
func (e evidence) clock(sc report.Scenario) (clock, bool) {
	var from, to time.Time
	if e.timeline != nil && !e.timeline.Start.IsZero() {
		from, to = e.timeline.Start, e.timeline.End
	} else {
		if len(e.ops) > 0 {
			from, to = e.ops[0].Invoked, e.ops[len(e.ops)-1].Returned
		}
		if sc.Fault.Injected != nil && from.Before(sc.Fault.Injected.Add(-before)) {
			from = sc.Fault.Injected.Add(-before)
		}
		for _, c := range sc.Criteria {
			if end := ended(c); end.After(to) {
				to = end.Add(after)
			}
		}
	}
	if from.IsZero() || !to.After(from) {
		return clock{}, false
	}
	c := clock{zero: from, label: "seconds since the mesh was well"}
	if faults := e.faults(sc); len(faults) > 0 {
		c.zero, c.label = faults[0].Applied, "seconds since the fault was applied"
	}
	c.from, c.to = c.at(from), c.at(to)
	return c, true
}

// at is a time on the axis.
func (c clock) at(t time.Time) float64 { return t.Sub(c.zero).Seconds() }

// has reports whether a time is on the axis.
func (c clock) has(t time.Time) bool { x := c.at(t); return x >= c.from && x <= c.to }

// ended is when a criterion was judged; zero if it never was.
func ended(c report.Criterion) time.Time {
	if c.Started == nil {
		return time.Time{}
	}
	return c.Started.Add(time.Duration(c.Seconds * float64(time.Second)))
}
