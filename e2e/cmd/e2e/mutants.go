package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/mutant"
)

// mutants runs the scenario of each seeded defect in the cluster, with the defect in its
// image, and wants its criterion to fail, and no other.
func mutants(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	only := flags.String("only", "", "comma-separated `names` of the defects to try; empty: all")
	profile := flags.String("profile", "quick", "as of run")
	if err := flags.Parse(args); err != nil {
		return exitUsage, err
	}
	chosen, err := mutant.Find(fields(*only)...)
	if err != nil {
		return exitUsage, err
	}
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	var results []mutant.Result
	err = s.inKept(ctx, func(e *engine.Engine, suite string) error {
		store, err := image.Open(s.project, e, s.progress, s.log)
		if err != nil {
			return err
		}
		all, err := s.scenarios(ctx, suite)
		if err != nil {
			return err
		}
		for _, m := range chosen {
			alone, err := filter(all, m.Scenario)
			if err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
			r, err := s.mutant(ctx, store, suite, m, "-profile", *profile, "-abort-on=off", "-ginkgo.label-filter="+alone)
			if err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
			results = append(results, r)
		}
		return nil
	})
	code, err := s.code(err)
	said := s.tell("mutants", results, func(w io.Writer) {
		fmt.Fprintln(w, "mutant\tverdict\tfailed\t")
		for i, r := range results {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Mutant, r.Verdict, strings.Join(r.By, " "), r.Why)
			if r.Verdict != mutant.Caught {
				code = cmp.Or(code, exitFailed)
			}
			if i == len(results)-1 {
				fmt.Fprintf(w, "\ncaught\t%d of %d\n", mutant.Count(results), len(chosen))
			}
		}
	})
	return code, errors.Join(err, said)
}

// mutant tries one defect, with arguments that make the suite run its scenario. The sound images
// are back when it returns.
func (s *session) mutant(ctx context.Context, store *image.Store, suite string, m mutant.Mutant, args ...string) (r mutant.Result, err error) {
	sound, err := store.Find(ctx)
	if err != nil {
		return r, err
	}
	step := s.progress.Step("build with the defect " + m.Name)
	archive, err := store.Seeded(ctx, m.Tag(), m.Attacker)
	if err := step.End("", err); err != nil {
		return r, err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		err = errors.Join(err, store.Load(clean, remains.Kept(), sound.Load...))
	}()
	if err := store.Load(ctx, remains.Kept(), archive); err != nil {
		return r, err
	}
	dir := filepath.Join(s.project, "artifacts", "mutants", m.Name)
	summary, artefacts, err := s.judged(ctx, suite, dir, args...)
	if err != nil {
		return r, err
	}
	present, err := mutant.Present(os.DirFS(artefacts), m)
	if err != nil {
		return r, err
	}
	return mutant.Score(m, summary, present), nil
}

// judged runs the suite in the kept cluster, with artefacts below dir, and returns what it
// concluded and where the artefacts are. That a criterion failed is no error.
func (s *session) judged(ctx context.Context, suite, dir string, args ...string) (summary *report.Summary, artefacts string, err error) {
	summary, artefacts, _, err = s.concluded(ctx, suite, dir, args...)
	return summary, artefacts, err
}

// concluded is judged, and the exit code of the run.
func (s *session) concluded(ctx context.Context, suite, dir string, args ...string) (summary *report.Summary, artefacts string, code int, err error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, "", 0, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, "", 0, err
	}
	if code, err = s.test(ctx, suite, append([]string{"-kubeconfig", s.kubeconfig(), "-artifacts", dir}, args...)); err != nil {
		return nil, "", code, err
	}
	if code == report.ExitUsage {
		return nil, "", code, fmt.Errorf("the suite did not begin: exit code %d", code)
	}
	artefacts = filepath.Join(dir, "latest")
	summary, err = readSummary(artefacts)
	return summary, artefacts, code, err
}

// tell prints results as a table and keeps them as artifacts/NAME.json.
func (s *session) tell(name string, results any, table func(io.Writer)) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	table(w)
	b, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(w.Flush(), os.WriteFile(filepath.Join(s.project, "artifacts", name+".json"), append(b, '\n'), 0o644))
}

// fields splits a comma-separated list.
func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
