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
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/host"
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
	dry := slices.IndexFunc(args, func(a string) bool { return a == "-dry" || a == "--dry" })
	if dry < 0 { // what would keep it from running is found before a minute of building
		if err := engine.Free("images", remains.Run()); err != nil {
			return s.code(err)
		}
		if err := s.suits(ctx); err != nil {
			return s.code(err)
		}
		for _, line := range host.NotSupported() {
			s.progress.Printf("%s", line)
		}
	}
	step := s.progress.Step("build the suite")
	binary := filepath.Join(s.project, ".bin", "e2e.test")
	if err := step.End("", s.build(ctx, "test", binary, "-c", "./e2e")); err != nil {
		return s.code(err)
	}
	if dry >= 0 {
		return s.plan(ctx, binary, slices.Delete(slices.Clone(args), dry, dry+1))
	}
	// Wrong flags are found before anything is installed or built.
	if code, err := s.test(ctx, binary, append([]string{"-check"}, args...)); err != nil || code != 0 {
		return code, err
	}
	code := 0
	err = s.prepare(ctx, func(*engine.Engine, image.Set) error {
		code, err = s.test(ctx, binary, args)
		fmt.Println(s.lastScore())
		return err
	})
	if err != nil {
		if c, err := s.code(err); code == 0 {
			return c, err
		}
	}
	return code, errors.Join(err, s.keepResults(artifactsOf(s.project, args)))
}

// artifactsOf is where the suite puts what a run leaves, by its own flags.
func artifactsOf(project string, args []string) string {
	for i, a := range args {
		name, dir, given := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if !given && i+1 < len(args) {
			dir = args[i+1]
		}
		if strings.HasPrefix(a, "-") && name == "artifacts" {
			if filepath.IsAbs(dir) {
				return dir
			}
			return filepath.Join(project, dir)
		}
	}
	return filepath.Join(project, "artifacts")
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

// leaveScreen leaves the alternate screen and shows the cursor (xterm's DECRST 1049 and
// DECSET 25), which a suite that was killed while it showed a run could not.
const leaveScreen = "\x1b[?1049l\x1b[?25h"

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
		if term.IsTerminal(int(os.Stdout.Fd())) {
			fmt.Print(leaveScreen)
		}
		return exitFailed, fmt.Errorf("%s: %w", filepath.Base(binary), err)
	}
}

// up makes the cluster of its own name and leaves it; args are those of the cluster command.
func up(ctx context.Context, args []string) (int, error) {
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	code := 0
	err = s.prepare(ctx, func(*engine.Engine, image.Set) error {
		code, err = s.makeKept(ctx, args...)
		return err
	})
	if err != nil {
		return s.code(err)
	}
	if code == 0 {
		fmt.Printf("cluster %s is up; use it with\n  go test ./e2e -timeout 60m -kubeconfig %s\nand remove it with\n  make cluster-down\n", remains.Kept(), s.kubeconfig())
	}
	return code, nil
}

// down removes the cluster of up.
func down(ctx context.Context, _ []string) (int, error) {
	return removeKept(ctx)
}

// clean removes what any earlier run of the suite left: clusters, containers, engine,
// directories. Images stay; with -images they go too.
func clean(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("clean", flag.ContinueOnError)
	images := flags.Bool("images", false, "remove the images and what they were built from, too")
	if err := flags.Parse(args); err != nil {
		return exitUsage, err
	}
	release, err := acquire("images", remains.Run(), remains.Kept())
	defer release()
	if err != nil {
		return exitUsage, err
	}
	// All that our own engine holds goes with it; what is in somebody else's is taken out one by one.
	err = engine.Reset(ctx)
	if errors.Is(err, engine.ErrBusy) {
		return exitUsage, err
	}
	e, none := engine.Find(ctx)
	switch {
	case none == nil:
		err = errors.Join(err, removeFrom(ctx, e, remains.Run(), remains.Kept()))
	case errors.Is(none, engine.ErrDenied):
		return exitUsage, errors.Join(err, none)
	}
	err = errors.Join(err, remains.RemoveDir(ctx, remains.Run()), remains.RemoveDir(ctx, remains.Kept()), image.RemoveScratch())
	if err == nil && *images {
		err = image.RemoveState()
	}
	if err != nil {
		return exitFailed, fmt.Errorf("clean up: %w", err)
	}
	return 0, nil
}

// removeKept removes the cluster of up.
func removeKept(ctx context.Context) (int, error) {
	release, err := acquire("images", remains.Kept())
	defer release()
	if err != nil {
		return exitUsage, err
	}
	project, err := projectRoot()
	if err != nil {
		return exitFailed, err
	}
	// What is left of it would name a cluster that is gone.
	if err := os.Remove((&session{project: project}).kubeconfig()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return exitFailed, err
	}
	_, err = engine.Find(ctx)
	switch {
	case errors.Is(err, engine.ErrNone): // it went with its engine
		err = errors.Join(engine.Reset(ctx), remains.RemoveDir(ctx, remains.Kept()))
		if errors.Is(err, engine.ErrBusy) {
			return exitUsage, err
		}
	case err != nil:
		return exitUsage, err
	default:
		var e *engine.Engine
		if e, err = engine.Ensure(ctx, project); err == nil {
			err = errors.Join(removeFrom(ctx, e, remains.Kept()), e.Release(ctx))
		}
	}
	if err != nil {
		return exitFailed, fmt.Errorf("clean up: %w", err)
	}
	return 0, nil
}

// removeFrom removes the clusters of those names, and what a build of images left, from an engine.
func removeFrom(ctx context.Context, e *engine.Engine, names ...string) error {
	project, err := projectRoot()
	if err != nil {
		return err
	}
	p := progress.New(os.Stderr)
	defer p.Close()
	store, err := image.Open(project, e, p, os.Stderr)
	if err != nil {
		return err
	}
	errs := []error{store.Clean(ctx)}
	for _, n := range names {
		errs = append(errs, remains.Remove(ctx, e, n))
	}
	return errors.Join(errs...)
}

// acquire takes locks, and returns what gives them up. The error wraps engine.ErrBusy.
func acquire(names ...string) (release func(), err error) {
	var held []*engine.Lock
	release = func() {
		for _, l := range held {
			_ = l.Release()
		}
	}
	for _, name := range names {
		l, err := engine.Acquire(name)
		if err != nil {
			return release, err
		}
		held = append(held, l)
	}
	return release, nil
}
