package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/control"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/host"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/ground/lane"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// planned is a scenario as the suite's registry has it.
type planned struct {
	Name     string
	Filter   string // the label filter that selects it alone
	Nightly  bool
	Alone    bool          // no other may go meanwhile
	Takes    time.Duration // about how long it takes in the quick profile
	Criteria []string
	Selected int
	Fixtures []string
	Controls []control.Row
}

// plan says what a run with the same arguments would do, and makes nothing.
func (s *session) plan(ctx context.Context, binary string, args []string) (int, error) {
	all, err := s.scenarios(ctx, binary, args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode(), nil // it has said why
	}
	if err != nil {
		return exitFailed, err
	}
	profile := flagOf(args, "profile", "quick") // the suite's own default
	took := report.LastTimes(filepath.Join(s.project, "artifacts"), profile)
	if err := writePlan(os.Stdout, all, profile, lanesOf(args), took); err != nil {
		return exitFailed, err
	}
	lacking := s.lacking(ctx)
	for _, what := range lacking {
		fmt.Println("missing:", what)
	}
	if len(lacking) == 0 {
		fmt.Println("nothing is missing")
	}
	for _, line := range host.NotSupported() {
		fmt.Println(line)
	}
	return 0, nil
}

// scenarios reads the suite's registry. Of a suite that refuses the arguments the error is an
// exec.ExitError.
func (s *session) scenarios(ctx context.Context, binary string, args ...string) ([]planned, error) {
	cmd := exec.CommandContext(ctx, binary, append([]string{"-scenarios"}, args...)...)
	cmd.Dir = filepath.Join(s.project, "e2e")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s -scenarios: %w", filepath.Base(binary), err)
	}
	var all []planned
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&all); err != nil {
		return nil, fmt.Errorf("%s -scenarios: %w", filepath.Base(binary), err)
	}
	return all, nil
}

// filter is the label filter that selects a scenario alone.
func filter(all []planned, name string) (string, error) {
	i := slices.IndexFunc(all, func(p planned) bool { return p.Name == name })
	if i < 0 {
		return "", fmt.Errorf("there is no scenario %q", name)
	}
	return all[i].Filter, nil
}

// either is the label filter that selects the named ones of scenarios.
func either(all []planned, names []string) string {
	var filters []string
	for _, p := range all {
		if slices.Contains(names, p.Name) {
			filters = append(filters, "("+p.Filter+")")
		}
	}
	return strings.Join(filters, " || ")
}

// flagOf is the value of a flag among a run's arguments, which the suite has checked.
func flagOf(args []string, flag, otherwise string) string {
	value := otherwise
	for i, a := range args {
		name, v, given := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case name != flag || !strings.HasPrefix(a, "-"):
		case given:
			value = v
		case i+1 < len(args):
			value = args[i+1]
		}
	}
	return value
}

// lanesOf is how many scenarios a run with these arguments has at a time.
func lanesOf(args []string) int {
	n, err := strconv.ParseInt(flagOf(args, "lanes", ""), 0, 0)
	if err != nil || n < 1 { // it is not given: what is no number of lanes the suite has refused
		return runtime.NumCPU()
	}
	return int(n)
}

// makespan is how long scenarios take in so many lanes, which a run gives first to those that must be alone, and then to
// those that should take longest. One that has not run counts as it should take.
func makespan(run []planned, lanes int, took map[string]time.Duration) time.Duration {
	run = slices.Clone(run)
	slices.SortStableFunc(run, func(a, b planned) int {
		return lane.Need{Alone: a.Alone, Takes: a.Takes}.Compare(lane.Need{Alone: b.Alone, Takes: b.Takes})
	})
	busy := make([]time.Duration, lanes) // until when each lane is
	for _, sc := range run {
		takes := cmp.Or(took[sc.Name], sc.Takes)
		if sc.Alone {
			busy = slices.Repeat([]time.Duration{slices.Max(busy) + takes}, lanes)
		} else {
			busy[slices.Index(busy, slices.Min(busy))] += takes
		}
	}
	return slices.Max(busy)
}

// writePlan writes which scenarios would run, how long each took the last time, and how long all would
// take in so many lanes.
func writePlan(w io.Writer, all []planned, profile string, lanes int, took report.Times) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "SCENARIO\tCRITERIA\tLAST TIME\tFIXTURES\n")
	var run []planned
	criteria, basis := 0, ""
	for _, sc := range all {
		if sc.Selected == 0 {
			continue
		}
		last := "never"
		if d, ok := took.Scenarios[sc.Name]; ok {
			last = d.Round(time.Second).String()
		} else {
			basis = ", from estimates of the quick profile"
		}
		run, criteria = append(run, sc), criteria+sc.Selected
		fmt.Fprintf(t, "%s\t%d of %d\t%s\t%s\n", sc.Name, sc.Selected, len(sc.Criteria), last, strings.Join(sc.Fixtures, " "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	setUp := "from the first spec on" // nothing has run here
	if took.SetUp > 0 {
		setUp = fmt.Sprintf("of which %s until the first spec", took.SetUp.Round(time.Second))
	}
	lanes = max(1, min(lanes, len(run)))
	whole := took.SetUp + makespan(run, lanes, took.Scenarios)
	_, err := fmt.Fprintf(w, "\nprofile %s: %d scenarios, %d criteria, %d at a time; about %s, %s%s\n",
		profile, len(run), criteria, lanes, whole.Round(time.Second), setUp, basis)
	return err
}

// lacking says what a run would have to bring in first, or what keeps it from running.
func (s *session) lacking(ctx context.Context) []string {
	var lacking []string
	for _, err := range []error{host.CheckKernel(), host.CheckMachine(), s.disks()} {
		if err != nil {
			lacking = append(lacking, err.Error())
		}
	}
	e, none := engine.Find(ctx)
	for _, p := range host.Missing(host.Purpose{Engine: none != nil}) {
		lacking = append(lacking, "package "+p+" (make deps installs it)")
	}
	switch {
	case errors.Is(none, engine.ErrNone):
		lacking = append(lacking, "a Docker engine: one is started for the run, and which images it has is seen then")
	case none != nil:
		lacking = append(lacking, none.Error())
	default:
		store, err := image.Open(s.project, e, s.progress, s.log)
		if err == nil {
			err = store.Lacking(ctx)
		}
		if err != nil {
			lacking = append(lacking, err.Error())
		}
	}
	return lacking
}
