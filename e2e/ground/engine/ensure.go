package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Ensure returns an engine that answers, starting one of our own if none does. project is the
// root of this project's sources, from which the container runtime is built.
func Ensure(ctx context.Context, project string) (*Engine, error) {
	e, err := Find(ctx)
	if !errors.Is(err, ErrNone) {
		return e, err
	}
	dir, err := os.MkdirTemp("", "x0tta6bl4-e2e-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	runtime := filepath.Join(dir, "bounded-runtime")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", runtime, "./e2e/cmd/bounded-runtime")
	build.Dir, build.Env = project, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the container runtime: %w: %s", err, lastLine(string(out)))
	}
	// What an engine that was killed left would be in the way of the next.
	if err := Stop(ctx); err != nil {
		return nil, fmt.Errorf("clean up after an earlier engine: %w", err)
	}
	return Start(ctx, runtime)
}

// Release stops e if it is our own and nothing runs in it.
func (e *Engine) Release(ctx context.Context) error {
	if !e.Own {
		return nil
	}
	left, err := e.Output(ctx, "ps", "--quiet")
	if err == nil && left != "" {
		return nil // a cluster that was asked to stay
	}
	return Stop(ctx)
}

// Restore starts our own engine again if it has been used on this machine and its
// commands are still there; otherwise it returns nil.
func Restore(ctx context.Context, project string) (*Engine, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	containers, err := filepath.Glob(filepath.Join(stateDir, "docker", "containers", "*"))
	if err != nil || len(containers) == 0 {
		return nil, err
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		return nil, nil
	}
	return Ensure(ctx, project)
}
