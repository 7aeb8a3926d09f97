package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/host"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// planned is a scenario as the suite's registry has it.
type planned struct {
	Name     string
	Filter   string // the label filter that selects it alone
	Nightly  bool
	Criteria []string
	Selected int
	Fixtures []string
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
	profile := profileOf(args)
	took := report.LastTimes(filepath.Join(s.project, "artifacts"), profile)
	if err := writePlan(os.Stdout, all, profile, took); err != nil {
		return exitFailed, err
	}
	lacking := s.lacking(ctx)
	for _, what := range lacking {
		fmt.Println("missing:", what)
	}
	if len(lacking) == 0 {
		fmt.Println("nothing is missing")
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

// profileOf is the profile that a run's arguments name, which the suite has checked.
func profileOf(args []string) string {
	profile := "quick" // the suite's own default
	for i, a := range args {
		name, value, given := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case name != "profile":
		case given:
			profile = value
		case i+1 < len(args):
			profile = args[i+1]
		}
	}
	return profile
}

// writePlan writes which scenarios would run and how long each took the last time.
func writePlan(w io.Writer, all []planned, profile string, took report.Times) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "SCENARIO\tCRITERIA\tLAST TIME\tFIXTURES\n")
	whole, known, scenarios, criteria := took.SetUp, took.SetUp > 0, 0, 0
	for _, sc := range all {
		if sc.Selected == 0 {
			continue
		}
		last := "never"
		if d, ok := took.Scenarios[sc.Name]; ok {
			last, whole = d.Round(time.Second).String(), whole+d
		} else {
			known = false
		}
		scenarios, criteria = scenarios+1, criteria+sc.Selected
		fmt.Fprintf(t, "%s\t%d of %d\t%s\t%s\n", sc.Name, sc.Selected, len(sc.Criteria), last, strings.Join(sc.Fixtures, " "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	about := "how long is not known: not all of it has run here"
	if known {
		about = fmt.Sprintf("about %s, of which %s until the first spec", whole.Round(time.Second), took.SetUp.Round(time.Second))
	}
	_, err := fmt.Fprintf(w, "\nprofile %s: %d scenarios, %d criteria; %s\n", profile, scenarios, criteria, about)
	return err
}

// lacking says what a run would have to bring in first, or what keeps it from running.
func (s *session) lacking(ctx context.Context) []string {
	var lacking []string
	checks := []error{host.CheckKernel(), host.CheckMachine(), host.CheckDisk(s.project)}
	if _, err := os.Stat(engine.StateDir); err == nil {
		checks = append(checks, host.CheckDisk(engine.StateDir))
	}
	for _, err := range checks {
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
