package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/host"
)

// fakeProject puts a docker that no run can use and a go that builds nothing into PATH, which note what they are asked. The
// project is an empty directory.
func fakeProject(t *testing.T) (calls func() string) {
	t.Helper()
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "calls")
	for name, cases := range map[string]string{
		"docker": "--version) echo podman version 4.3.1;;",
		"go":     "'env GOMOD') echo " + filepath.Join(dir, "go.mod") + ";;",
	} {
		script := "#!/bin/sh\necho \"" + name + " $*\" >>" + log + "\ncase \"$*\" in\n" + cases + "\n*) exit 1;;\nesac\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// To compile the suite takes a minute. Only a plan, which says all that is missing, is made in any case.
func TestAnEngineThatCannotServeIsRefusedBeforeAnythingIsBuilt(t *testing.T) {
	for name, c := range map[string]struct {
		run   func(context.Context, []string) (int, error)
		args  []string
		built bool
	}{
		"a run":    {run: runSuite},
		"a plan":   {runSuite, []string{"-dry"}, true},
		"controls": {run: controls},
		"images":   {run: images},
	} {
		t.Run(name, func(t *testing.T) {
			calls := fakeProject(t)
			code, err := c.run(t.Context(), c.args)
			if errors.Is(err, engine.ErrBusy) && os.Getenv("CI") == "" {
				t.Skip(err)
			}
			// A machine that lacks something else besides is refused for that.
			if refused := errors.Is(err, engine.ErrUnfit) || errors.Is(err, host.ErrMissing); refused == c.built || refused && code != exitUsage {
				t.Errorf("exit code %d, %v, want a refusal: %v", code, err, !c.built)
			}
			if built := strings.Contains(calls(), "go test ") || strings.Contains(calls(), "go build "); built != c.built {
				t.Errorf("something was built: %v, want %v:\n%s", built, c.built, calls())
			}
		})
	}
}
