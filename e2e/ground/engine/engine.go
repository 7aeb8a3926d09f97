// Package engine finds the Docker engine of this machine or starts one of its own,
// which keeps its socket, its images and its processes apart from any other.
package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// StateDir holds what outlives a run: images, the runtime, the cache of root file systems.
const StateDir = "/var/lib/x0tta6bl4-e2e"

const answerTimeout = 10 * time.Second // for an engine to say its version

var (
	// runDir holds the sockets and process ids of our engine: short paths, gone after a reboot.
	runDir = "/run/x0tta6bl4-e2e"
	// stateDir is StateDir but in tests.
	stateDir = StateDir
)

var (
	// ErrNone is the error when no engine answers.
	ErrNone = errors.New("no Docker engine answers")
	// ErrDenied is the error when an engine is there but refuses this user.
	ErrDenied = errors.New("the Docker engine refuses this user: run as root or join its group")
)

// Engine is a Docker engine that answers.
type Engine struct {
	Host    string // DOCKER_HOST of it; empty for the client's own default
	Own     bool   // started by this package, now or by an earlier run
	Version string
}

// Find returns our own engine if it still runs, or the one that the Docker client
// would use. The error wraps ErrNone or ErrDenied.
func Find(ctx context.Context) (*Engine, error) {
	if ownPID() != 0 {
		if e, err := answer(ctx, "unix://"+ownSocket()); err == nil {
			e.Own = true
			return e, nil
		}
	}
	return answer(ctx, "")
}

// answer asks the engine at host for its version.
func answer(ctx context.Context, host string) (*Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	e := &Engine{Host: host}
	cmd := e.Command(ctx, "version", "--format", "{{.Server.Version}}")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(stderr.String())
		switch {
		case strings.Contains(text, "permission denied"):
			return nil, fmt.Errorf("%w (%s)", ErrDenied, lastLine(text))
		case errors.Is(err, exec.ErrNotFound):
			return nil, fmt.Errorf("%w: no docker command", ErrNone)
		default:
			return nil, fmt.Errorf("%w: %s", ErrNone, lastLine(text))
		}
	}
	e.Version = strings.TrimSpace(stdout.String())
	return e, nil
}

// Command returns the docker command with args against e. It ends with ctx.
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = e.Env()
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Env returns this process's environment with e as the engine of docker and kind.
func (e *Engine) Env() []string {
	env := append(os.Environ(), "DOCKER_CLI_HINTS=false")
	if e.Host != "" {
		env = append(env, "DOCKER_HOST="+e.Host)
	}
	return env
}

// Output runs docker with args and returns its trimmed standard output. The error
// carries the last line of its standard error.
func (e *Engine) Output(ctx context.Context, args ...string) (string, error) {
	cmd := e.Command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, lastLine(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

func ownSocket() string  { return filepath.Join(runDir, "docker.sock") }
func ownPIDFile() string { return filepath.Join(runDir, "docker.pid") }
