// Package remains knows what a cluster of the suite leaves on a machine, and removes it,
// whoever made it. It needs nothing of Kubernetes.
//
// A cluster's name is also that of its lock and of its private directory (engine.Scratch). Whoever removes
// one holds its lock. Names are a user's own, as locks are: two users of one engine do not meet.
package remains

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
)

// ClusterLabel is kind's label of a node container; its value is the cluster's name.
const ClusterLabel = "io.x-k8s.kind.cluster"

// Run is the cluster of a run; no two runs of a user are on one machine at a time.
func Run() string { return ours("x0tta6bl4-e2e") }

// Kept is the cluster that a person asked for.
func Kept() string { return ours("x0tta6bl4-dev") }

// Network is the Docker network of the clusters, apart from kind's own.
func Network() string { return ours("x0tta6bl4-e2e") }

func ours(name string) string {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Sprintf("%s-%d", name, uid)
	}
	return name
}

// Nodes are the names of the node containers of a cluster that runs in e.
func Nodes(ctx context.Context, e *engine.Engine, cluster string) ([]string, error) {
	out, err := e.Output(ctx, "ps", "--filter", "label="+ClusterLabel+"="+cluster, "--format", "{{.Names}}")
	return strings.Fields(out), err
}

// kindProcess is the file that names the kind command of a cluster, in the cluster's private directory.
const kindProcess = "kind.process"

// Kind writes into a cluster's private directory a command that is kind, of the path binary, and leaves
// word of which process it is: kind survives a run that is killed.
func Kind(dir, binary string) (string, error) {
	path := filepath.Join(dir, "kind")
	// exec keeps the process's id and start time, fields 1 and 22 of its stat; sh's name holds no space.
	script := fmt.Sprintf("#!/bin/sh\nset -e\ncut -d' ' -f1,22 \"/proc/$$/stat\" >'%s'\nexec '%s' \"$@\"\n", filepath.Join(dir, kindProcess), binary)
	return path, os.WriteFile(path, []byte(script), 0o700)
}

// Remove removes the cluster of that name from e, with its containers, volumes and
// network, and its private directory.
func Remove(ctx context.Context, e *engine.Engine, name string) error {
	// kind would go on making what is removed here.
	if err := RemoveDir(ctx, name); err != nil {
		return err
	}
	containers, err := e.Output(ctx, "ps", "--all", "--quiet", "--filter", "label="+ClusterLabel+"="+name)
	if err != nil {
		return err
	}
	if containers != "" {
		if _, err := e.Output(ctx, append([]string{"rm", "--force", "--volumes"}, strings.Fields(containers)...)...); err != nil {
			return fmt.Errorf("remove the cluster's nodes: %w", err)
		}
	}
	others, err := e.Output(ctx, "ps", "--all", "--quiet", "--filter", "network="+Network())
	if err != nil || others != "" {
		return err // another cluster of the suite is on the network
	}
	left, err := e.Output(ctx, "network", "ls", "--quiet", "--filter", "name=^"+Network()+"$")
	if err == nil && left != "" {
		_, err = e.Output(ctx, "network", "rm", Network())
	}
	return err
}

// RemoveDir removes the private directory of the cluster of that name, and ends the kind command that a
// run that was killed left at work.
func RemoveDir(ctx context.Context, name string) error {
	dir, err := engine.ScratchDir(name)
	if err != nil {
		return err
	}
	if err := engine.EndProcess(ctx, filepath.Join(dir, kindProcess)); err != nil {
		return fmt.Errorf("end kind: %w", err)
	}
	return os.RemoveAll(dir)
}
