package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/control"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/fixtures"
)

// controls runs the scenarios where the mesh cannot pass, and wants every criterion to say
// so.
func controls(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("controls", flag.ContinueOnError)
	cells := flags.String("cells", "E,H,N,O", "comma-separated `cells` to run, in this order")
	only := flags.String("only", "", "comma-separated `scenarios` to run; empty: all that are not nightly")
	profile := flags.String("profile", "quick", "as of run")
	if err := flags.Parse(args); err != nil {
		return exitUsage, err
	}
	for _, c := range fields(*cells) {
		if !slices.Contains(control.Cells(), control.Cell(c)) {
			return exitUsage, fmt.Errorf("-cells: there is no cell %q: there are %v", c, control.Cells())
		}
	}
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	score := control.Score{Commit: commit(s.project), Whole: *only == "" && len(fields(*cells)) == len(control.Cells())}
	err = s.inKept(ctx, func(e *engine.Engine, suite string) error {
		chosen, err := s.chosen(ctx, suite, fields(*only))
		if err != nil {
			return err
		}
		for _, c := range fields(*cells) {
			began := time.Now()
			results, err := s.cell(ctx, e, suite, *profile, control.Cell(c), chosen)
			if err != nil {
				return fmt.Errorf("cell %s: %w", c, err)
			}
			fmt.Fprintf(os.Stderr, "cell %s took %s\n", c, time.Since(began).Round(time.Second))
			score.Results = append(score.Results, results...)
		}
		return nil
	})
	if err != nil {
		score.Whole = false
	}
	code, err := s.code(err)
	var table error
	said := s.tell("controls", score, func(w io.Writer) { table = score.Matrix(w) })
	if score.Whole {
		said = errors.Join(said, score.Keep(s.project))
	}
	if code == 0 && (len(score.Results) == 0 || score.Sound() < len(score.Results)) {
		code = exitFailed
	}
	return code, errors.Join(err, said, table)
}

// chosen are the scenarios that are named, or all that are not nightly.
func (s *session) chosen(ctx context.Context, suite string, names []string) ([]planned, error) {
	all, err := s.scenarios(ctx, suite)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if _, err := filter(all, n); err != nil {
			return nil, fmt.Errorf("-only: %w", err)
		}
	}
	return slices.DeleteFunc(all, func(p planned) bool {
		return len(names) == 0 && p.Nightly || len(names) > 0 && !slices.Contains(names, p.Name)
	}), nil
}

// rowsOf are what the criteria of scenarios claim, or of those that are named.
func rowsOf(all []planned, names ...string) []control.Row {
	var rows []control.Row
	for _, p := range all {
		if len(names) == 0 || slices.Contains(names, p.Name) {
			rows = append(rows, p.Controls...)
		}
	}
	return rows
}

// cell runs the chosen scenarios of one cell. Those of which it wants nothing are left out.
func (s *session) cell(ctx context.Context, e *engine.Engine, suite, profile string, c control.Cell, chosen []planned) ([]control.Result, error) {
	dir := filepath.Join(s.project, "artifacts", "controls", string(c))
	args := []string{"-profile", profile, "-abort-on=off"} // what must fail here must not end it
	names := control.Scenarios(rowsOf(chosen), c)
	switch c {
	case control.NoFault:
		args = append(args, "-control="+report.ControlAbsent)
	case control.LoopOff:
		args = append(args, "-mapek=off")
	case control.Empty:
		empty, err := os.MkdirTemp("", "fixtures")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(empty)
		if err := control.EmptyFixtures(fixtures.FS, empty); err != nil {
			return nil, err
		}
		args = append(args, "-fixtures", empty)
	case control.Harness:
		return s.broken(ctx, e, suite, dir, args, chosen)
	}
	if len(names) == 0 {
		return nil, nil
	}
	judge := func(dir string, names []string, args ...string) ([]control.Result, error) {
		summary, _, err := s.judged(ctx, suite, dir, append(args, "-ginkgo.label-filter="+either(chosen, names))...)
		if err != nil {
			return nil, err
		}
		return control.Judge(c, "", summary, rowsOf(chosen, names...)), nil
	}
	results, err := judge(dir, names, slices.Clone(args)...)
	busy := control.Busy(results)
	if err != nil || len(busy) == 0 {
		return results, err
	}
	// Once more, and one at a time: a machine that is too busy says nothing of a criterion.
	fmt.Fprintf(os.Stderr, "cell %s: the machine was too busy for %s: again, alone\n", c, strings.Join(busy, ", "))
	again, err := judge(dir+"-again", busy, append(args, "-lanes=1")...)
	if err != nil {
		return nil, err
	}
	return control.Replace(results, again), nil
}

// broken runs the scenarios of cell H, one after the other.
func (s *session) broken(ctx context.Context, e *engine.Engine, suite, dir string, args []string, chosen []planned) ([]control.Result, error) {
	var all []control.Result
	for i, b := range breakages {
		k := slices.IndexFunc(chosen, func(p planned) bool { return p.Name == b.scenario })
		if k < 0 {
			continue
		}
		over := make(chan error, 1)
		watch, stop := context.WithCancel(ctx)
		go func() { over <- b.strike(watch, e) }()
		summary, _, err := s.judged(ctx, suite, filepath.Join(dir, fmt.Sprint(i)), append(slices.Clone(args), "-ginkgo.label-filter="+chosen[k].Filter)...)
		stop()
		if err = errors.Join(err, <-over, b.mend(ctx, e)); err != nil {
			return nil, fmt.Errorf("%s: %w", b.name, err)
		}
		all = append(all, control.Judge(control.Harness, b.name, summary, chosen[k].Controls)...)
	}
	return all, nil
}

// lastScore says how the last controls went, and of which commit: what a run's green is worth.
func (s *session) lastScore() string {
	score, err := control.Last(s.project)
	if errors.Is(err, os.ErrNotExist) {
		return "controls: not run here yet: make e2e-controls says what a passed criterion is worth"
	}
	if err != nil {
		return fmt.Sprintf("controls: the last score cannot be read: %v", err)
	}
	if now := commit(s.project); now != score.Commit {
		return fmt.Sprintf("%v; this is %s", score, now)
	}
	return score.String()
}
