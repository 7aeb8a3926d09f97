// Package remains knows what a cluster of the suite leaves on a machine, and removes it,
// whoever made it. It needs nothing of Kubernetes.
package remains

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
)

const (
	// Run is the cluster of a run; no two runs are on one machine at a time.
	Run = "x0tta6bl4-e2e"
	// Kept is the cluster that a person asked for.
	Kept = "x0tta6bl4-dev"
	// Network is the Docker network of the clusters, apart from kind's own.
	Network = "x0tta6bl4-e2e"
	// ClusterLabel is kind's label of a node container; its value is the cluster's name.
	ClusterLabel = "io.x-k8s.kind.cluster"
	// DirPrefix begins the name of a cluster's private directory below os.TempDir.
	DirPrefix = "x0tta6bl4-e2e-cluster-"
)

// Remove removes the cluster of that name from e, with its containers, volumes and
// network.
func Remove(ctx context.Context, e *engine.Engine, name string) error {
	// kind survives a run that was killed, and would go on making what is removed here.
	err := engine.EndProcesses(ctx, func(args []string) bool {
		return filepath.Base(args[0]) == "kind" && slices.Contains(args, "create") && slices.Contains(args, name)
	})
	if err != nil {
		return fmt.Errorf("end kind: %w", err)
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
	others, err := e.Output(ctx, "ps", "--all", "--quiet", "--filter", "network="+Network)
	if err != nil || others != "" {
		return err // another cluster of the suite is on the network
	}
	left, err := e.Output(ctx, "network", "ls", "--quiet", "--filter", "name=^"+Network+"$")
	if err == nil && left != "" {
		_, err = e.Output(ctx, "network", "rm", Network)
	}
	return err
}

// RemoveDirs removes the private directories of runs that were killed. The caller
// holds the clusters' locks.
func RemoveDirs() error {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), DirPrefix+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}
