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
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/ground/progress"
)

const (
	// suiteTimeout is go test's limit for the suite; every wait inside has a shorter one of its own.
	suiteTimeout = 60 * time.Minute
	// startedVariable tells the suite when the command that a person typed began.
	startedVariable = "E2E_STARTED"
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
	if err := step.End("", s.build(ctx, "test", binary, "-c", "./e2e")); err != nil {
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

// build compiles a program of the project's: verb and args are the go command's.
func (s *session) build(ctx context.Context, verb, binary string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{verb, "-trimpath", "-o", binary}, args...)...)
	cmd.Dir = s.project
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("go %s %s: %w\n%s", verb, strings.Join(args, " "), err, out)
	}
	return nil
}

// test runs the suite's test binary.
func (s *session) test(ctx context.Context, binary string, args []string) (int, error) {
	own := []string{"-test.v=false", "-test.timeout=" + suiteTimeout.String()}
	if !term.IsTerminal(int(os.Stdout.Fd())) {
		own = append(own, "-ginkgo.no-color")
	}
	return s.child(ctx, binary, append(own, args...)...)
}

// child runs a program of the project's in the suite's directory and returns its exit
// code. When ctx ends, it is asked to clean up and gets time for that; it dies
// with this process in any case.
func (s *session) child(ctx context.Context, binary string, args ...string) (int, error) {
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = filepath.Join(s.project, "e2e")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if os.Getenv(startedVariable) == "" {
		cmd.Env = append(os.Environ(), startedVariable+"="+s.started.Format(time.RFC3339Nano))
	}
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
		return exitFailed, fmt.Errorf("%s: %w", filepath.Base(binary), err)
	}
}

// up makes the cluster of its own name and leaves it.
func up(ctx context.Context, _ []string) (int, error) {
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	code := 0
	kubeconfig := filepath.Join(s.project, ".bin", "kubeconfig")
	err = s.prepare(ctx, func(*engine.Engine) error {
		binary := filepath.Join(s.project, ".bin", "cluster")
		step := s.progress.Step("build the cluster command")
		if err := step.End("", s.build(ctx, "build", binary, "./e2e/cmd/cluster")); err != nil {
			return err
		}
		code, err = s.child(ctx, binary, kubeconfig)
		return err
	})
	if err != nil {
		return s.code(err)
	}
	if code == 0 {
		fmt.Printf("cluster %s is up; use it with\n  go test ./e2e -kubeconfig %s\nand remove it with\n  make cluster-down\n", remains.Kept, kubeconfig)
	}
	return code, nil
}

// down removes the cluster of up.
func down(ctx context.Context, _ []string) (int, error) {
	return removeClusters(ctx, remains.Kept)
}

// clean removes what any earlier run of the suite left: clusters, containers, engine,
// directories. Images stay; with -images they go too.
func clean(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("clean", flag.ContinueOnError)
	images := flags.Bool("images", false, "remove the images and what they were built from, too")
	if err := flags.Parse(args); err != nil {
		return exitUsage, err
	}
	code, err := removeClusters(ctx, remains.Run, remains.Kept)
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
			return 0, errors.Join(err, engine.Stop(ctx), remains.RemoveDirs())
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
		errs = append(errs, remains.Remove(ctx, e, n))
	}
	errs = append(errs, e.Release(ctx), remains.RemoveDirs())
	if err := errors.Join(errs...); err != nil {
		return exitFailed, fmt.Errorf("clean up: %w", err)
	}
	return 0, nil
}
