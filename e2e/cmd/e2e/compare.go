package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/x0tta6bl4/mesh/e2e/judge/trend"
)

// resultsFile keeps what runs measured. It is not among the artefacts, which make clean
// removes.
const resultsFile = ".results.jsonl"

// keepResults adds what the run that has just ended measured to the results file. A run
// with the loop off or without its faults, or of one that left no summary, is none of those that are compared.
func (s *session) keepResults(artifacts string) error {
	dir, err := filepath.EvalSymlinks(filepath.Join(artifacts, "latest"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	summary, err := readSummary(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || summary.Mapek != "on" || summary.Control != "" || summary.Started.Before(s.started) {
		return err
	}
	r := trend.Of(filepath.Base(dir), commit(s.project), trend.Calibrate(), summary)
	if len(r.Values) == 0 {
		return nil
	}
	return trend.Append(filepath.Join(s.project, resultsFile), r)
}

// compare says which values have moved among the runs that were kept.
func compare(_ context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	file := flags.String("results", "", "read this `file` instead of the project's own")
	if err := flags.Parse(args); err != nil {
		return exitUsage, err
	}
	project, err := projectRoot()
	if err != nil {
		return exitFailed, err
	}
	if *file == "" {
		*file = filepath.Join(project, resultsFile)
	}
	runs, err := trend.Read(*file)
	if err != nil {
		return exitFailed, err
	}
	if len(runs) == 0 {
		return exitUsage, fmt.Errorf("%s holds no run yet: each make e2e adds one", *file)
	}
	alike, others := trend.Comparable(runs)
	last := runs[len(runs)-1]
	fmt.Printf("%d runs like the last one (%s, %d cores, speed %.0f ± %.0f %%), %d others left out\n",
		len(alike), last.Profile, last.Cores, last.Speed, 100*trend.Alike, others)
	moves := trend.Compare(alike)
	for _, m := range moves {
		fmt.Println(m)
	}
	if len(moves) > 0 {
		return exitFailed, nil
	}
	fmt.Printf("nothing has moved, by %.0f %% or more and with a chance below %g of being noise\n", 100*trend.Least, trend.Chance)
	return 0, nil
}
