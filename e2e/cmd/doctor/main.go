// Command doctor says what in a cluster would keep the suite from proving anything, with what mends it, in a line
// each: doctor KUBECONFIG. Make calls it through e2e doctor. Exit codes: 0 nothing fatal, 1 failed, 2 usage, or a fatal finding.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/observe/doctor"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/manifests"
)

const (
	exitFailed = 1
	exitUsage  = 2

	// within bounds all of it.
	within = 5 * time.Minute
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: doctor KUBECONFIG IMAGES")
		os.Exit(exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	found, err := examine(ctx, os.Args[1], os.Args[2])
	stop()
	for _, f := range found {
		fmt.Println(f)
	}
	switch {
	case errors.Is(err, cluster.ErrUsage), errors.Is(err, image.ErrPlace), errors.Is(err, image.ErrRegistry):
		fmt.Fprintln(os.Stderr, "doctor:", err)
		os.Exit(exitUsage)
	case err != nil:
		fmt.Fprintln(os.Stderr, "doctor:", err)
		os.Exit(exitFailed)
	case doctor.Fatal(found):
		os.Exit(exitUsage)
	}
	fmt.Println("nothing keeps the suite from running in this cluster")
}

func examine(ctx context.Context, kubeconfig, images string) ([]doctor.Finding, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("the cluster was not looked through within %v", within))
	defer cancel()
	published, err := image.Find(ctx, images)
	if err != nil {
		return nil, err
	}
	c, err := cluster.Up(ctx, cluster.Options{Kubeconfig: kubeconfig, Log: os.Stderr})
	if err != nil {
		return nil, err
	}
	if _, err := c.Kubernetes.Discovery().ServerVersion(); err != nil {
		return nil, fmt.Errorf("%w: %s does not answer: %w", cluster.ErrUsage, c.Config.Host, err)
	}
	p, err := prom.New(c.Config, c.Prometheus)
	if err != nil {
		return nil, err
	}
	mesh, err := fs.Sub(manifests.Mesh, "mesh")
	if err != nil {
		return nil, err
	}
	return doctor.Examine(ctx, doctor.New(c, p.Unrecorded(), published.FS(mesh), published)), nil
}
