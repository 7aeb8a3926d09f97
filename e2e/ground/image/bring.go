package image

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
)

// Bring brings the images that are to be loaded into the machines of a cluster that is there, as kind does into those of one that
// it makes.
func (s Set) Bring(ctx context.Context, e *engine.Engine, machines []string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range machines {
		group.Go(func() error {
			for _, a := range s.Load {
				if err := load(ctx, e, m, a); err != nil {
					return fmt.Errorf("load %s into %s: %w", a, m, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func load(ctx context.Context, e *engine.Engine, machine, archive string) (err error) {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c := e.Command(ctx, "exec", "--interactive", machine, "ctr", "--namespace=k8s.io", "images", "import", "--all-platforms", "--digests", "-")
	c.Stdin = f
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
