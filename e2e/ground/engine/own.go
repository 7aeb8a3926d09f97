package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
	poll         = 100 * time.Millisecond
)

// Start starts an engine of our own; log names its log file on errors. It needs
// root, dockerd, containerd and runc. runtime is the bounded-runtime command.
func Start(ctx context.Context, runtime string) (*Engine, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("start a Docker engine: %w; start one yourself (for example: sudo systemctl start docker)", os.ErrPermission)
	}
	for _, dir := range []string{runDir, stateDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	installed := filepath.Join(stateDir, "bounded-runtime")
	if err := install(runtime, installed); err != nil {
		return nil, err
	}
	logPath := filepath.Join(runDir, "docker.log")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("dockerd",
		"--host", "unix://"+ownSocket(),
		"--pidfile", ownPIDFile(),
		"--exec-root", filepath.Join(runDir, "docker"),
		"--data-root", filepath.Join(stateDir, "docker"),
		"--bridge", "none", // containers of ours are on a network of their own or on none
		"--add-runtime", "bounded="+installed,
		"--default-runtime", "bounded",
	)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives this process; Stop ends it
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start dockerd: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("dockerd did not answer in %s", startTimeout))
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if e, err := answer(ctx, "unix://"+ownSocket()); err == nil {
			e.Own = true
			return e, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("dockerd ended (%v): %s", err, logTail(logPath))
		case <-ctx.Done():
			cause := context.Cause(ctx)
			_ = cmd.Process.Signal(unix.SIGTERM) // it is ours and of no use
			<-ended
			return nil, fmt.Errorf("%w: %s", cause, logTail(logPath))
		case <-tick.C:
		}
	}
}

// Stop ends our own engine with everything that it left: processes, mounts,
// network namespaces, firewall chains. Images stay. It does nothing to an engine
// that is not ours, and it is safe to call when none runs.
func Stop(ctx context.Context) error {
	pid := ownPID()
	if pid == 0 {
		if _, err := os.Stat(runDir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	} else if err := terminate(ctx, pid); err != nil {
		return fmt.Errorf("stop the Docker engine: %w", err)
	}
	return errors.Join(killLeftovers(ctx), unmountUnder(runDir), unmountUnder(filepath.Join(stateDir, "docker")), removeChains(ctx), os.RemoveAll(runDir))
}

// ownPID returns the process id of our engine, 0 if it does not run.
func ownPID() int {
	b, err := os.ReadFile(ownPIDFile())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || !mentions(pid, ownSocket()) {
		return 0 // the id was reused
	}
	return pid
}

// mentions reports whether the command line of pid contains text.
func mentions(pid int, text string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(b), text)
}

// terminate asks pid to end, and kills it when it does not by the deadline.
func terminate(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0) // a pidfd cannot come to mean another process
	if err != nil {
		return nil // it has ended
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(stopTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		return nil
	}
	if ended(fd, time.Until(deadline)) {
		return nil
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	if !ended(fd, poll*10) {
		return fmt.Errorf("process %d does not end", pid)
	}
	return nil
}

// ended waits until the process behind the pidfd has ended.
func ended(fd int, wait time.Duration) bool {
	for end := time.Now().Add(wait); ; {
		left := max(time.Until(end), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return n > 0
	}
}

// killLeftovers ends containerd and its shims if the engine died without them.
func killLeftovers(ctx context.Context) error {
	return EndProcesses(ctx, func(args []string) bool {
		return strings.Contains(strings.Join(args, " "), filepath.Join(runDir, "docker"))
	})
}

// EndProcesses asks every other process whose command line matches to end, and kills
// it when it does not within a minute or by ctx's deadline.
func EndProcesses(ctx context.Context, match func(args []string) bool) error {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range processes {
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err == nil && match(strings.Split(string(line), "\x00")) {
			errs = append(errs, terminate(ctx, pid))
		}
	}
	return errors.Join(errs...)
}

// unmountUnder detaches dir, which dockerd mounts on itself, and every mount below it, the latest first.
func unmountUnder(dir string) error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var errs []error
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) > 1 && strings.HasPrefix(fields[1]+"/", dir+"/") {
			if err := unix.Unmount(fields[1], unix.MNT_DETACH); err != nil {
				errs = append(errs, fmt.Errorf("unmount %s: %w", fields[1], err))
			}
		}
	}
	return errors.Join(errs...)
}

// install copies the runtime to a path that stays for the engine's lifetime.
func install(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("install the container runtime: %w", err)
	}
	fresh := to + ".new"
	if err := os.WriteFile(fresh, b, 0o700); err != nil {
		return err
	}
	return os.Rename(fresh, to) // a running copy keeps its inode
}

// logTail returns the last error line of the engine's log.
func logTail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return lastLine(string(b))
}
