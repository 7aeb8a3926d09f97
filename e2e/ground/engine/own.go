package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine/enclosure"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
	killTimeout  = 10 * time.Second // from SIGKILL to the end
	lockTimeout  = startTimeout*3 + stopTimeout
	poll         = 100 * time.Millisecond
)

// Start starts an engine of our own, in an enclosure; log names its log file on errors. It needs root,
// dockerd, containerd and runc. project is the root of this project's sources, from which its commands are
// built. What an earlier engine left must have been taken away by Stop.
func Start(ctx context.Context, project string) (*Engine, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("start a Docker engine: %w; start one yourself (for example: sudo systemctl start docker)", os.ErrPermission)
	}
	// apt's own user passes through, to the scratch space.
	if err := errors.Join(os.MkdirAll(stateDir, 0o711), os.Chmod(stateDir, 0o711)); err != nil {
		return nil, err
	}
	if err := remember(); err != nil {
		return nil, fmt.Errorf("record what the machine is like: %w", err)
	}
	if err := build(ctx, project); err != nil {
		return nil, err
	}
	return startOrRebuild(ctx)
}

// startOrRebuild starts the engine on the images that it has. Where it starts only without them, they are
// what keeps it from starting, and they are dropped; where it does not start without them either, they stay.
func startOrRebuild(ctx context.Context) (*Engine, error) {
	aside, gone := dataRoot()+".aside", dataRoot()+".gone"
	if err := os.RemoveAll(gone); err != nil { // killed while it removed what was to blame
		return nil, err
	}
	if _, err := os.Stat(aside); err == nil { // killed while it was finding out
		if err := errors.Join(os.RemoveAll(dataRoot()), os.Rename(aside, dataRoot())); err != nil {
			return nil, err
		}
	}
	e, why := startOn(ctx)
	if why != nil && ctx.Err() == nil { // once more: the one may have been killed, for want of memory for example
		if err := Stop(ctx); err != nil {
			return nil, errors.Join(why, err)
		}
		e, why = startOn(ctx)
	}
	if why == nil || ctx.Err() != nil {
		return e, why
	}
	if _, err := os.Stat(filepath.Join(dataRoot(), "image")); err != nil {
		return nil, why
	}
	if err := errors.Join(Stop(ctx), os.Rename(dataRoot(), aside)); err != nil {
		return nil, errors.Join(why, err)
	}
	e, err := startOn(ctx)
	if err != nil {
		return nil, errors.Join(why, Stop(ctx), os.RemoveAll(dataRoot()), os.Rename(aside, dataRoot()))
	}
	e.Note = fmt.Sprintf("its images did not let it start and are made anew (%v)", why)
	// Half of it, which a kill would leave, must not be there by the name of what is taken back.
	return e, errors.Join(os.Rename(aside, gone), os.RemoveAll(gone))
}

// startOn starts the engine on what is below dataRoot, but for all that is not images.
func startOn(ctx context.Context) (*Engine, error) {
	if err := resetState(dataRoot()); err != nil {
		return nil, fmt.Errorf("reset the engine's state: %w", err)
	}
	if err := errors.Join(remember(), os.MkdirAll(runDir, 0o700)); err != nil {
		return nil, err
	}
	// dockerd reads this instead of the administrator's. Later ones would keep images in
	// containerd, where an image's id is another and a commit is no single image.
	config := filepath.Join(runDir, "daemon.json")
	if err := os.WriteFile(config, []byte(`{"features": {"containerd-snapshotter": false}}`), 0o600); err != nil {
		return nil, err
	}
	logPath := filepath.Join(runDir, "docker.log")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd, release, err := enclosure.Command(command("enclosure"), runDir, stateDir, "dockerd",
		"--config-file", config,
		"--host", "unix://"+ownSocket(),
		"--pidfile", filepath.Join(runDir, "dockerd.pid"),
		"--exec-root", filepath.Join(runDir, "docker"),
		"--data-root", dataRoot(),
		"--bridge", "none", // containers of ours are on a network of their own or on none
		"--userland-proxy-path", command("enclosure"),
		"--cgroup-parent", "/"+cgroupName, "--exec-opt", "native.cgroupdriver=cgroupfs", // not the administrator's systemd
		"--add-runtime", "bounded="+command("bounded-runtime"),
		"--default-runtime", "bounded",
	)
	if err != nil {
		return nil, err
	}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=/nonexistent"}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the engine's enclosure: %w", err), release(false))
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stamp, err := stampProcess(cmd.Process.Pid)
	if err == nil {
		err = os.WriteFile(ownProcess(), []byte(stamp), 0o600)
	}
	if err := errors.Join(err, release(err == nil)); err != nil {
		<-ended
		return nil, fmt.Errorf("record the engine's process: %w", err)
	}
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
			err := cmd.Process.Kill() // it is ours and of no use; all that is in there ends with it
			<-ended
			return nil, errors.Join(fmt.Errorf("%w: %s", cause, logTail(logPath)), err)
		case <-tick.C:
		}
	}
}

// Stop ends our own engine with everything in it, and puts back what it changed of the machine. Images
// stay. It does nothing to an engine that is not ours, and it is safe to call when none runs.
func Stop(ctx context.Context) error {
	if err := EndProcess(ctx, ownProcess()); err != nil {
		return fmt.Errorf("stop the Docker engine: %w", err)
	}
	err := putBack()
	if os.Geteuid() == 0 {
		err = errors.Join(err, removeGroups(ctx))
	}
	if _, none := os.Stat(runDir); errors.Is(none, fs.ErrNotExist) {
		return err
	}
	return errors.Join(err, os.RemoveAll(runDir))
}

// running tells whether our engine's enclosure is there.
func running() bool {
	fd, err := openProcess(ownProcess())
	if err != nil || fd < 0 {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// logTail returns the line of the engine's log that says why it ended: the last error, without the
// goroutines of a panic.
func logTail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return strings.TrimSpace(line)
		}
	}
	return lastLine(string(b))
}

// command is the path of one of the project's commands that our engine needs.
func command(name string) string { return filepath.Join(stateDir, "bin", name) }

// build compiles them, where they are not there as the sources are.
func build(ctx context.Context, project string) error {
	if err := os.MkdirAll(command(""), 0o700); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", command("")+"/", "./e2e/cmd/bounded-runtime", "./e2e/cmd/enclosure")
	cmd.Dir, cmd.Env = project, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the engine's commands: %w: %s", err, lastLine(string(out)))
	}
	return nil
}
