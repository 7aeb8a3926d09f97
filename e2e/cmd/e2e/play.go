package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
)

// errNoCluster is the error of what needs the cluster that stays.
var errNoCluster = errors.New("there is no cluster: make mesh-up makes one, and a mesh in it")

// meshUp makes the cluster that stays, if there is none, and a mesh in it.
func meshUp(ctx context.Context, args []string) (int, error) {
	if len(args) > 0 {
		return exitUsage, fmt.Errorf("mesh-up: unexpected argument %q", args[0])
	}
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	code := 0
	err = s.prepare(ctx, func(e *engine.Engine, set image.Set) error {
		nodes, err := remains.Nodes(ctx, e, remains.Kept())
		if err != nil {
			return err
		}
		if len(nodes) == 0 {
			if code, err = s.makeKept(ctx); err != nil || code != 0 {
				return err
			}
		} else if err := set.Bring(ctx, e, nodes); err != nil { // what was built since it was made
			return err
		}
		code, err = s.mesh(ctx, "up")
		return err
	})
	if err != nil {
		return s.code(err)
	}
	if code == 0 {
		fmt.Print(`the mesh is up; try
  make mesh-status WATCH=1               # nodes, sessions, routes, incidents
  make fault F=network-partition FOR=20s # in another terminal
  make mesh-down                         # remove the mesh; make cluster-down removes the cluster
`)
	}
	return code, nil
}

// meshStatus shows the mesh of mesh-up.
func meshStatus(ctx context.Context, args []string) (int, error) {
	code, err := inMesh(ctx, append([]string{"status"}, args...)...)
	if ctx.Err() != nil { // who watches ends that
		return 0, nil
	}
	return code, err
}

// meshDown removes the mesh of mesh-up.
func meshDown(ctx context.Context, args []string) (int, error) {
	code, err := inMesh(ctx, append([]string{"down"}, args...)...)
	if err == nil && code == 0 {
		fmt.Println("the mesh is gone; the cluster stays until make cluster-down")
	}
	return code, err
}

// inMesh runs the mesh command where there is a cluster.
func inMesh(ctx context.Context, args ...string) (int, error) {
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	if _, err := os.Stat(s.kubeconfig()); err != nil {
		return exitUsage, errNoCluster
	}
	return s.mesh(ctx, args...)
}

// mesh runs the mesh command in the cluster that stays.
func (s *session) mesh(ctx context.Context, args ...string) (int, error) {
	return s.tool(ctx, "mesh", append([]string{"-kubeconfig", s.kubeconfig()}, args...)...)
}

// tool builds a command of e2e/cmd and runs it.
func (s *session) tool(ctx context.Context, name string, args ...string) (int, error) {
	binary := filepath.Join(s.project, ".bin", name)
	if err := s.build(ctx, "build", binary, "./e2e/cmd/"+name); err != nil {
		return exitFailed, err
	}
	return s.child(ctx, binary, args...)
}

// faultByHand injects a fault in the mesh of mesh-up: the suite knows how.
func faultByHand(ctx context.Context, args []string) (int, error) {
	f := flag.NewFlagSet("e2e fault", flag.ContinueOnError)
	lasts := f.Duration("for", 0, "take the fault back after this `time`, if its fixture lasts longer")
	if err := f.Parse(args); err != nil {
		return exitUsage, err
	}
	if f.NArg() > 1 {
		return exitUsage, fmt.Errorf("fault: unexpected argument %q", f.Arg(1))
	}
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	step := s.progress.Step("build the suite")
	binary := filepath.Join(s.project, ".bin", "e2e.test")
	if err := step.End("", s.build(ctx, "test", binary, "-c", "./e2e")); err != nil {
		return s.code(err)
	}
	fault := []string{"-fault=" + f.Arg(0), "-for=" + lasts.Round(time.Millisecond).String()}
	if _, err := os.Stat(s.kubeconfig()); err == nil {
		fault = append(fault, "-kubeconfig="+s.kubeconfig())
	}
	return s.child(ctx, binary, fault...)
}
