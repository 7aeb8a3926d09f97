package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrUnfit is the error when the engine that the Docker client would use is there and cannot serve.
var ErrUnfit = errors.New("this Docker engine cannot serve")

// instead is what all who are refused may do.
const instead = "stop it, or unset DOCKER_HOST and DOCKER_CONTEXT, and run as root: the suite then starts an engine of its own"

// endpoint returns where the Docker client of this user finds its engine, from DOCKER_HOST or its context.
func endpoint(ctx context.Context) (string, error) {
	version, err := client(ctx, "--version")
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%w: no docker command", ErrNone)
	}
	if strings.Contains(strings.ToLower(version), "podman") {
		return "", fmt.Errorf("%w: the docker command is podman's: put Docker's first in PATH (the package docker.io)", ErrUnfit)
	}
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		// Where there are no contexts, or none of that name, the engine is asked at its usual place.
		host, _ = client(ctx, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
	}
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	if !strings.HasPrefix(host, "unix://") {
		return "", fmt.Errorf("%w: it is remote (%s), and the cluster has to be on this machine: %s", ErrUnfit, host, instead)
	}
	return host, nil
}

// client runs docker with this user's own configuration.
func client(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).Output()
	return strings.TrimSpace(string(out)), err
}

// traits are what decides whether an engine can serve: part of docker info and docker version.
type traits struct {
	KernelVersion   string
	SecurityOptions []string
	DriverStatus    [][2]string
	Components      []struct{ Name string }
}

// suits returns an error that wraps ErrUnfit if e, which is somebody else's, cannot serve.
func (e *Engine) suits(ctx context.Context) error {
	var t traits
	for _, args := range [][]string{
		{"version", "--format", `{"Components": {{json .Server.Components}}}`},
		{"info", "--format", "{{json .}}"},
	} {
		out, err := e.Output(ctx, args...)
		if err == nil {
			err = json.Unmarshal([]byte(out), &t)
		}
		if err != nil {
			return fmt.Errorf("%w: it does not say what it is: %w", ErrUnfit, err)
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	if why := t.unfit(unix.ByteSliceToString(u.Release[:])); why != "" {
		return fmt.Errorf("%w: %s; or %s", ErrUnfit, why, instead)
	}
	return nil
}

// unfit says in half a sentence why an engine with these traits cannot serve on a machine with that kernel,
// and what would mend it; empty if it can.
func (t traits) unfit(kernel string) string {
	for _, c := range t.Components {
		if strings.Contains(strings.ToLower(c.Name), "podman") {
			return "it is podman, on which kind's nodes cannot be given what the eBPF verifier needs: use Docker"
		}
	}
	for _, o := range t.SecurityOptions {
		switch {
		case strings.Contains(o, "name=rootless"):
			return "it is rootless, and the eBPF verifier needs root's capabilities: use one that runs as root"
		case strings.Contains(o, "name=userns"):
			return "it maps users (userns-remap), and the eBPF verifier needs root's capabilities: take userns-remap out of its daemon.json"
		}
	}
	for _, s := range t.DriverStatus {
		if s[0] == "driver-type" && strings.HasPrefix(s[1], "io.containerd.snapshotter") {
			return `it keeps images in containerd, where the node image cannot be told apart: set {"features": {"containerd-snapshotter": false}} in its daemon.json`
		}
	}
	if t.KernelVersion != kernel {
		return fmt.Sprintf("it runs under another kernel (%s) than this machine's (%s), in a virtual machine or elsewhere", t.KernelVersion, kernel)
	}
	return ""
}
