package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
)

// makeKept makes the cluster of its own name, which outlives this process, and returns the
// cluster command's exit code.
func (s *session) makeKept(ctx context.Context, args ...string) (int, error) {
	binary := filepath.Join(s.project, ".bin", "cluster")
	step := s.progress.Step("build the cluster command")
	if err := step.End("", s.build(ctx, "build", binary, "./e2e/cmd/cluster")); err != nil {
		return exitFailed, err
	}
	return s.child(ctx, binary, append(args, s.kubeconfig())...)
}

func (s *session) kubeconfig() string { return filepath.Join(s.project, ".bin", "kubeconfig") }

// inKept gets the images and the suite's binary ready and calls f with a cluster that several
// runs of the suite share: the one of `make cluster-up` if it is there, which then stays, or
// one that goes with the last run.
func (s *session) inKept(ctx context.Context, f func(e *engine.Engine, suite string) error) error {
	if err := s.suits(ctx); err != nil {
		return err
	}
	suite := filepath.Join(s.project, ".bin", "e2e.test")
	step := s.progress.Step("build the suite")
	if err := step.End("", s.build(ctx, "test", suite, "-c", "./e2e")); err != nil {
		return err
	}
	return s.prepare(ctx, func(e *engine.Engine, _ image.Set) (err error) {
		nodes, err := remains.Nodes(ctx, e, remains.Kept())
		if err != nil {
			return err
		}
		if len(nodes) == 0 {
			defer func() {
				clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
				defer cancel()
				err = errors.Join(err, remains.Remove(clean, e, remains.Kept()), remains.RemoveDir(clean, remains.Kept()))
			}()
			if code, err := s.makeKept(ctx); err != nil || code != 0 {
				return errors.Join(err, fmt.Errorf("the cluster did not come up: exit code %d", code))
			}
		}
		return f(e, suite)
	})
}
