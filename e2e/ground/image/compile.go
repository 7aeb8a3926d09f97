package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// compile runs go build of b into dir, reporting to out.
func (s *Store) compile(ctx context.Context, b binaries, dir string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tags := "netgo,osusergo"
	if b.tags != "" {
		tags += "," + b.tags
	}
	args := []string{"build", "-mod=readonly", "-trimpath", "-tags", tags, "-ldflags", strings.TrimSpace("-s -w " + b.ldflags), "-o", dir + "/"}
	if b.clocks {
		modfile, err := s.withClocks(ctx, filepath.Dir(dir))
		if err != nil {
			return fmt.Errorf("build %s: %w", b.what, err)
		}
		args = append(args, "-modfile="+modfile)
	}
	args = append(args, b.packages...)
	cgo := "0"
	if b.cgo {
		cgo = "1"
	}
	if err := s.run(ctx, out, filepath.Join(s.project, b.module), []string{"CGO_ENABLED=" + cgo, "GOFLAGS=", "GOWORK=off"}, "go", args...); err != nil {
		return fmt.Errorf("build %s: %w", b.what, err)
	}
	for from, to := range b.rename {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			return err
		}
	}
	return nil
}

// module returns the directory of a module's source, which go downloads if need be.
func (s *Store) module(ctx context.Context, dir, path string) (string, error) {
	var source strings.Builder
	work := filepath.Join(s.project, dir)
	if err := s.run(ctx, io.Discard, work, []string{"GOWORK=off"}, "go", "mod", "download", path); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", path)
	cmd.Dir, cmd.Stdout, cmd.Stderr = work, &source, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("find the source of %s: %w", path, err)
	}
	return strings.TrimSpace(source.String()), nil
}

// compileC builds a C program; flags say how it is linked.
func (s *Store) compileC(ctx context.Context, source, target string, flags ...string) error {
	args := append([]string{"-Os", "-s", "-o", target}, flags...)
	return s.run(ctx, io.Discard, s.project, nil, "gcc", append(args, source)...)
}

// run runs a command that dies with this process. Its output goes to the log and
// to out; the error quotes the last lines of it.
func (s *Store) run(ctx context.Context, out io.Writer, dir string, env []string, command string, args ...string) error {
	// Pdeathsig fires when the thread that started the child ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Not below /tmp: what is killed leaves its temporary files where make clean finds them.
	if err := os.MkdirAll(filepath.Join(s.dir, scratch), 0o711); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Join(s.dir, scratch), "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := os.Chmod(temporary, 0o711); err != nil { // apt's own user passes through
		return err
	}
	var last tail
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "TMPDIR="+temporary), env...)
	cmd.Stdout = io.MultiWriter(out, s.log, &last)
	cmd.Stderr = cmd.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	fmt.Fprintf(s.log, "+ %s %s\n", command, strings.Join(args, " "))
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%s: %w\n%s", command, err, last.String())
	}
	return nil
}

// tail keeps the last lines that are written to it.
type tail struct{ text []byte }

const tailBytes = 2000

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if n := len(t.text); n > tailBytes {
		t.text = append(t.text[:0], t.text[n-tailBytes:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.text)) }
