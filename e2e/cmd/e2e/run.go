package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/x0tta6bl4/mesh/e2e/cluster"
	"github.com/x0tta6bl4/mesh/e2e/engine"
	"github.com/x0tta6bl4/mesh/e2e/image"
	"github.com/x0tta6bl4/mesh/e2e/progress"
)

const (
	// devName is the cluster of `e2e up`.
	devName = "x0tta6bl4-dev"
	// suiteTimeout is go test's limit for the suite; every wait inside has a shorter one of its own.
	suiteTimeout = 60 * time.Minute
	// interruptGrace is how long an interrupted suite may take to remove what it made.
	interruptGrace = 3 * time.Minute
)

// runSuite gets everything ready and runs the suite's test binary, whose exit code it returns.
func runSuite(ctx context.Context, args []string) (int, error) {
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	step := s.progress.Step("build the suite")
	binary := filepath.Join(s.project, ".bin", "e2e.test")
	if err := step.End("", s.build(ctx, binary)); err != nil {
		return s.code(err)
	}
	// Wrong flags are found before anything is installed or built.
	if code, err := s.test(ctx, binary, append([]string{"-check"}, args...)); err != nil || code != 0 {
		return code, err
	}
	code := 0
	err = s.prepare(ctx, func(*engine.Engine) error {
		code, err = s.test(ctx, binary, args)
		return err
	})
	if err != nil {
		if c, err := s.code(err); code == 0 {
			return c, err
		}
	}
	return code, err
}

// build compiles the suite's tests.
func (s *session) build(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-o", binary, "./e2e")
	cmd.Dir = s.project
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("build the suite: %w\n%s", err, out)
	}
	return nil
}

// test runs the test binary in the suite's directory. When ctx ends, it is asked to
// clean up and gets time for that; it dies with this process in any case.
func (s *session) test(ctx context.Context, binary string, args []string) (int, error) {
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	args = append([]string{"-test.v=false", "-test.timeout=" + suiteTimeout.String()}, args...)
	if !term.IsTerminal(int(os.Stdout.Fd())) {
		args = append(args, "-ginkgo.no-color")
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = filepath.Join(s.project, "e2e")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = interruptGrace
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	default: // killed, or not started
		return exitFailed, fmt.Errorf("the suite: %w", err)
	}
}

// up makes the cluster of its own name and leaves it.
func up(ctx context.Context, _ []string) (int, error) {
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	kept := filepath.Join(s.project, ".bin", "kubeconfig")
	return s.code(s.prepare(ctx, func(*engine.Engine) error {
		c, err := cluster.Up(ctx, cluster.Options{Name: devName, Log: os.Stderr})
		if err == nil {
			err = keep(c.Kubeconfig, kept)
		}
		if err != nil {
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
			defer cancel()
			if c != nil {
				err = errors.Join(err, c.Down(clean))
			}
			return err
		}
		fmt.Printf("cluster %s is up; use it with\n  go test ./e2e -kubeconfig %s\nand remove it with\n  make cluster-down\n", devName, kept)
		return c.Leave()
	}))
}

// keep copies the kubeconfig to where a person finds it, for this user only.
func keep(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// down removes the cluster of up.
func down(ctx context.Context, _ []string) (int, error) {
	return removeClusters(ctx, devName)
}

// clean removes what any earlier run of the suite left: clusters, containers, engine,
// directories. Images stay; with -images they go too.
func clean(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("clean", flag.ContinueOnError)
	images := flags.Bool("images", false, "remove the images and what they were built from, too")
	if err := flags.Parse(args); err != nil {
		return exitUsage, err
	}
	code, err := removeClusters(ctx, cluster.Name, devName)
	if err == nil && *images {
		err = image.RemoveState()
	}
	return code, err
}

func removeClusters(ctx context.Context, names ...string) (int, error) {
	for _, lock := range append([]string{"images"}, names...) {
		l, err := engine.Acquire(lock)
		if err != nil {
			return exitUsage, err
		}
		defer l.Release()
	}
	project, err := projectRoot()
	if err != nil {
		return exitFailed, err
	}
	e, err := engine.Find(ctx)
	switch {
	case errors.Is(err, engine.ErrNone):
		// Containers of ours may wait in the state of our engine, for its next start.
		if e, err = engine.Restore(ctx, project); err != nil || e == nil {
			return 0, errors.Join(err, engine.Stop(ctx), cluster.RemoveLeftDirs())
		}
	case err != nil:
		return exitUsage, err
	}
	p := progress.New(os.Stderr)
	defer p.Close()
	store, err := image.Open(project, e, p, os.Stderr)
	if err != nil {
		return exitFailed, err
	}
	errs := []error{store.Clean(ctx)}
	for _, n := range names {
		errs = append(errs, cluster.Remove(ctx, e, n))
	}
	errs = append(errs, e.Release(ctx), cluster.RemoveLeftDirs())
	if err := errors.Join(errs...); err != nil {
		return exitFailed, fmt.Errorf("clean up: %w", err)
	}
	return 0, nil
}
