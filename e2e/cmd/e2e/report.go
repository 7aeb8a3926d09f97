package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/report/page"
)

// writeReport makes the report of a run, the latest if none is given, from its artefacts.
func writeReport(_ context.Context, args []string) (int, error) {
	dir, err := runDir(args)
	if err != nil {
		return exitUsage, err
	}
	path, err := page.Write(dir)
	if errors.Is(err, os.ErrNotExist) {
		return exitUsage, err
	}
	if err != nil {
		return exitFailed, err
	}
	fmt.Println(path)
	return 0, nil
}

// runDir is the directory of a run that a person names: a path, or the name of one below
// artifacts; the latest if none is named.
func runDir(args []string) (string, error) {
	switch {
	case len(args) > 1:
		return "", fmt.Errorf("unexpected argument %q: one run at a time", args[1])
	case len(args) == 1 && args[0] != "":
		if _, err := os.Stat(args[0]); err == nil || filepath.IsAbs(args[0]) {
			return args[0], nil
		}
	default:
		args = []string{"latest"}
	}
	project, err := projectRoot()
	if err != nil {
		return "", err
	}
	return filepath.Join(project, "artifacts", args[0]), nil
}

// pack writes the archive of a run for a bug report beside the run's directory.
func pack(_ context.Context, args []string) (int, error) {
	dir, err := runDir(args)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return exitUsage, err
	}
	path := dir + ".triage.tar.gz"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return exitFailed, err
	}
	if err := errors.Join(report.Pack(f, dir, time.Now()), f.Close()); err != nil {
		return exitFailed, errors.Join(err, os.Remove(path))
	}
	fmt.Printf("%s\nSecrets of the forms that are known have been removed: look into it before you send it.\n", path)
	return 0, nil
}
