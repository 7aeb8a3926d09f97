package e2e

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

// judged is a criterion of a finished run, as it was judged and as it is judged again.
type judged struct {
	scenario   string
	was, again report.Criterion
}

// same reports whether nothing has changed. What failed on a busy machine was made invalid
// by a witness who is not asked again.
func (j judged) same() bool {
	busy := j.was.Cause == report.CauseBusy && j.again.Verdict == report.Failed
	return j.was.Verdict == j.again.Verdict || busy
}

// judgeAgain judges a scenario of a finished run from its artefacts.
func judgeAgain(ctx context.Context, was report.Scenario, files fs.FS) ([]judged, error) {
	i := slices.IndexFunc(scenarios, func(s *scenario.Scenario) bool { return s.Name == was.Name })
	if i < 0 {
		return nil, fmt.Errorf("there is no scenario %s any more", was.Name)
	}
	r, err := scenario.Reopen(scenarios[i], files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", was.Name, err)
	}
	var all []judged
	for _, c := range r.Again(ctx) {
		if k := slices.IndexFunc(was.Criteria, func(w report.Criterion) bool { return w.ID == c.ID }); k >= 0 {
			all = append(all, judged{was.Name, was.Criteria[k], c})
		}
	}
	return all, nil
}

// judgeRun judges a finished run again, says what would be another verdict now, and returns the
// exit code: 0 if there is none.
func judgeRun(ctx context.Context, w io.Writer, dir string) (int, error) {
	b, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err != nil {
		return report.ExitUsage, fmt.Errorf("%s is no finished run: %w", dir, err)
	}
	var s report.Summary
	if err := json.Unmarshal(b, &s); err != nil {
		return report.ExitUsage, fmt.Errorf("summary of %s: %w", dir, err)
	}
	var all []judged
	var missing error
	for _, sc := range s.Scenarios {
		found, err := judgeAgain(ctx, sc, os.DirFS(filepath.Join(dir, sc.Name)))
		if errors.Is(err, fs.ErrNotExist) { // of an earlier version, or without a fault
			fmt.Fprintf(w, "%s: not judged again, for what its faults were is not kept\n", sc.Name)
			continue
		}
		missing = errors.Join(missing, err)
		all = append(all, found...)
	}
	if missing != nil || len(all) == 0 {
		return report.ExitInvalid, errors.Join(missing, fmt.Errorf("%d criteria were judged again", len(all)))
	}
	return tellAgain(w, all)
}

func tellAgain(out io.Writer, all []judged) (int, error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	changed := 0
	for _, j := range all {
		mark := ""
		if !j.same() {
			changed++
			mark = "CHANGED: " + j.again.Detail
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", j.scenario, j.was.ID, valued(j.was), valued(j.again), mark)
	}
	fmt.Fprintf(w, "%d criteria judged again, %d with another verdict\n", len(all), changed)
	if changed > 0 {
		return report.ExitFailed, w.Flush()
	}
	return report.ExitPassed, w.Flush()
}

// valued writes a verdict with what was measured against which bar.
func valued(c report.Criterion) string {
	if c.Measured == nil {
		return string(c.Verdict)
	}
	return fmt.Sprintf("%s (%.4g %s %s)", c.Verdict, *c.Measured, c.Unit, c.Expected)
}

// savedRun opens a run that is kept as test data: one scenario with its summary.
func savedRun(path string) (report.Scenario, *zip.ReadCloser, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return report.Scenario{}, nil, err
	}
	b, err := fs.ReadFile(z, "summary.json")
	var s report.Summary
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && len(s.Scenarios) != 1 {
		err = fmt.Errorf("%s holds %d scenarios, not one", path, len(s.Scenarios))
	}
	if err != nil {
		return report.Scenario{}, nil, errors.Join(err, z.Close())
	}
	return s.Scenarios[0], z, nil
}
