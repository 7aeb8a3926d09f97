package scenario

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
)

// Collect writes the scenario's artefacts, once.
func (r *Run) Collect(ctx context.Context) error {
	if r.collected || r.deleted {
		return nil
	}
	r.collected = true
	dir := filepath.Join(r.env.Artifacts, r.Name)
	errs := []error{r.Mesh.Collect(ctx, dir)}
	line, err := r.timeline(ctx)
	errs = append(errs, err, line.Write(dir))
	files, err := fault.Snapshot(ctx, r.env.Client.Resources().GetControllerRuntimeClient(), r.Mesh.Namespace)
	errs = append(errs, err, os.MkdirAll(filepath.Join(dir, "chaos"), 0o755))
	for name, b := range files {
		errs = append(errs, os.WriteFile(filepath.Join(dir, "chaos", name), b, 0o644))
	}
	episodes, err := r.save()
	errs = append(errs, err, os.WriteFile(filepath.Join(dir, episodesFile), episodes, 0o644))
	return errors.Join(errs...)
}

// Withdraw deletes the faults and looks into the pods for what they left
// there. What it could only force is residue, too.
func (r *Run) Withdraw(ctx context.Context) ([]string, error) {
	r.watch.end()
	left, err := r.withdraw(ctx)
	if err != nil {
		return left, err
	}
	x := r.env.Client.Resources()
	c := x.GetControllerRuntimeClient()
	objects, err := fault.Objects(ctx, c, r.Mesh.Namespace)
	if err != nil {
		return left, err
	}
	pods, err := r.Mesh.Nodes(ctx)
	if err != nil {
		return left, err
	}
	after, err := fault.Look(ctx, c, x, pods)
	if err != nil {
		return left, err
	}
	return slices.Concat(left, objects, fault.Residue(r.before, after)), nil
}

func (r *Run) withdraw(ctx context.Context) (left []string, err error) {
	for _, e := range r.episodes {
		more, err := e.withdraw(ctx)
		left = append(left, more...)
		if err != nil {
			return left, err
		}
	}
	return left, nil
}

// Remove deletes the mesh and everything with it and tells what is left. It
// can be called again.
func (r *Run) Remove(ctx context.Context) ([]string, error) {
	r.Close()
	r.watch.end()
	forced, err := r.withdraw(ctx)
	if err = errors.Join(err, r.Mesh.Delete(ctx)); err != nil {
		return forced, err
	}
	r.deleted = true
	left, err := r.Mesh.Left(ctx)
	return append(forced, left...), err
}
