// Command mesh makes a mesh to play with in a cluster that is there, shows it, and removes it.
// Make calls it through e2e mesh-up, mesh-status and mesh-down. Exit codes: 0 done, 1 failed, 2 usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/ground/progress"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/manifests"
)

// errUsage is the error of what a person has to do in another way.
var errUsage = errors.New("usage")

// command is one subcommand; args are its own.
type command struct {
	help string
	run  func(ctx context.Context, c *cluster.Cluster, args []string) error
}

var commands = map[string]command{
	"up":     {"deploy the mesh, its recording client and the probers, and wait until it is well", up},
	"status": {"show nodes, sessions, routes and incidents: mesh status [-watch]", status},
	"down":   {"remove the mesh of up; the cluster stays", down},
}

func main() {
	// The libraries' own words would stand between the lines.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	ctrllog.SetLogger(klog.Background())
	ctx, stop := interruptible()
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage), errors.Is(err, cluster.ErrUsage), errors.Is(err, scenario.ErrNoMesh):
		fmt.Fprintln(os.Stderr, "mesh:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "mesh:", err)
		os.Exit(1)
	}
}

// interruptible returns a context that Ctrl-C ends.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("mesh", flag.ContinueOnError)
	f.SetOutput(out)
	kubeconfig := f.String("kubeconfig", ".bin/kubeconfig", "the cluster's `file`")
	f.Usage = func() {
		fmt.Fprintln(out, "usage: mesh [-kubeconfig FILE] COMMAND")
		for _, name := range slices.Sorted(maps.Keys(commands)) {
			fmt.Fprintf(out, "  %-8s %s\n", name, commands[name].help)
		}
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	c, ok := commands[f.Arg(0)]
	if !ok {
		f.Usage()
		return fmt.Errorf("%w: unknown command %q", errUsage, f.Arg(0))
	}
	if _, err := os.Stat(*kubeconfig); err != nil {
		return fmt.Errorf("%w: there is no cluster (%w): make mesh-up makes one", errUsage, err)
	}
	there, err := cluster.Up(ctx, cluster.Options{Kubeconfig: *kubeconfig})
	if err != nil {
		return err
	}
	return c.run(ctx, there, f.Args()[1:])
}

// up makes what the mesh lacks.
func up(ctx context.Context, c *cluster.Cluster, args []string) (err error) {
	if len(args) > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, args[0])
	}
	files, err := fs.Sub(manifests.Mesh, "mesh")
	if err != nil {
		return err
	}
	steps := progress.New(os.Stderr)
	defer steps.Close()
	step := steps.Step("mesh, recording client and probers in namespace " + mesh.Documented)
	defer func() { err = step.End("", err) }()
	p, err := prom.New(c.Config, c.Prometheus)
	if err != nil {
		return err
	}
	if err := p.Ready(ctx); err != nil {
		return err
	}
	r := scenario.Join(scenario.Env{Config: c.Config, Kube: c.Kubernetes, Client: c.Client, Prom: p, Manifests: files, Prober: image.Probe},
		&scenario.Scenario{Name: "mesh", Probed: true}, mesh.Documented)
	defer r.Close()
	there, ours, err := r.Mesh.Owner(ctx)
	if err != nil {
		return err
	}
	if there && !ours { // of kubectl apply: it has its own names
		return r.Enter(ctx)
	}
	return r.Complete(ctx)
}

// down removes the mesh, if up made it.
func down(ctx context.Context, c *cluster.Cluster, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, args[0])
	}
	m := open(c)
	switch there, ours, err := m.Owner(ctx); {
	case err != nil:
		return err
	case there && !ours:
		return fmt.Errorf("%w: make mesh-up did not make the mesh in namespace %s: kubectl delete -k manifests/mesh removes it", errUsage, m.Namespace)
	}
	ctx, cancel := context.WithTimeout(ctx, scenario.WaitCleanup)
	defer cancel()
	if err := m.Delete(ctx); err != nil {
		return err
	}
	left, err := m.Left(ctx)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	return err
}

// open is a handle on the mesh of a cluster.
func open(c *cluster.Cluster) *mesh.Mesh {
	return mesh.New(c.Config, c.Kubernetes, c.Client.Resources().GetControllerRuntimeClient(), mesh.Documented)
}
