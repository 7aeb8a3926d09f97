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

const defaultLocks = "/run/x0tta6bl4-e2e.locks"

const answerTimeout = 10 * time.Second // for an engine to say its version

var (
	// runDir holds the sockets and process ids of our engine: short paths, gone after a reboot.
	runDir = "/run/x0tta6bl4-e2e"
	// locksDir holds the locks, which outlive runDir.
	locksDir = defaultLocks
	// cgroupName is the control group of our engine's containers, in every hierarchy.
	cgroupName = "x0tta6bl4-e2e"
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
	Host    string // DOCKER_HOST of it
	Own     bool   // started by this package, now or by an earlier run
	Version string
	Note    string // what had to be done to make it start; empty if nothing

	use *Lock // shared while the engine is in use
}

// Find returns our own engine if it still runs, or the one that the Docker client
// would use. The error wraps ErrNone, ErrDenied or ErrUnfit.
func Find(ctx context.Context) (*Engine, error) {
	if running() {
		if e, err := answer(ctx, "unix://"+ownSocket()); err == nil {
			e.Own = true
			return e, nil
		}
	}
	host, err := endpoint(ctx)
	if err != nil {
		return nil, err
	}
	e, err := answer(ctx, host)
	if err != nil {
		return nil, err
	}
	return e, e.suits(ctx)
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

// Describe says in a line which engine this is.
func (e *Engine) Describe() string {
	text := "found, version " + e.Version
	if e.Own {
		text = "our own runs, version " + e.Version
	}
	if e.Note != "" {
		text += "; " + e.Note
	}
	return text
}

// Command returns the docker command with args against e. It ends with ctx.
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = e.Env()
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Env returns this process's environment with e as the engine of docker and kind, and with nothing of this
// user's own that would end up in containers or lead elsewhere.
func (e *Engine) Env() []string {
	var env []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !personal(name) {
			env = append(env, v)
		}
	}
	return append(env, "DOCKER_CLI_HINTS=false", "DOCKER_HOST="+e.Host, "DOCKER_CONFIG="+noConfig)
}

// noConfig is the client's configuration directory: none. One of a person's holds proxies, which the client hands to every
// container, and contexts.
const noConfig = "/nonexistent/docker"

// personal tells whether a variable configures the Docker client, or names a proxy, which the client and kind
// hand to containers.
func personal(name string) bool {
	name = strings.ToUpper(name)
	return strings.HasPrefix(name, "DOCKER_") || strings.HasPrefix(name, "BUILDKIT_") || strings.HasPrefix(name, "KIND_") || strings.HasSuffix(name, "_PROXY")
}

// Setenv gives this process that environment, for what hands on its own, and returns what takes it back.
func (e *Engine) Setenv() (restore func(), err error) {
	before := os.Environ()
	restore = func() {
		os.Clearenv()
		for _, v := range before {
			name, value, _ := strings.Cut(v, "=")
			_ = os.Setenv(name, value)
		}
	}
	after := e.Env()
	os.Clearenv()
	for _, v := range after {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			restore()
			return nil, err
		}
	}
	return restore, nil
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
func ownProcess() string { return filepath.Join(runDir, "enclosure.process") }
