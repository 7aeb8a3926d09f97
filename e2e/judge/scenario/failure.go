package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// Failure is a pod that Chaos Mesh makes fail.
type Failure struct {
	*Episode
	Victim string
}

// Fail makes a pod fail by a fixture and proves by its containers that it does.
func (r *Run) Fail(ctx context.Context, fixture string) (*Failure, error) {
	o, err := r.load(fixture)
	if err != nil {
		return nil, err
	}
	f := &Failure{}
	f.Episode, err = r.inject(ctx, o, func(e *Episode) proof {
		meet := func() (err error) {
			f.Victim, err = e.victim()
			return err
		}
		return proof{
			bites: func(ctx context.Context) error {
				if err := meet(); err != nil {
					return err
				}
				return r.runs(ctx, f.Victim, false)
			},
			over:    func(ctx context.Context) error { return r.runs(ctx, f.Victim, true) },
			presume: meet,
		}
	})
	return note(r, f, err)
}

// Continued checks that the journal of the pod that failed goes on from before it did.
func (f *Failure) Continued(ctx context.Context) error {
	entries, err := f.run.Journal(ctx, f.Victim)
	if err != nil {
		return err
	}
	return continued(f.Victim, entries, f.Window.Start)
}

func continued(node string, entries []event.Entry, failed time.Time) error {
	if len(entries) == 0 || !entries[0].Time.Before(failed) {
		return verdict.Shortf("the journal of %s holds nothing from before it failed at %s", node, failed.UTC().Format(time.TimeOnly))
	}
	return nil
}

// runs checks whether a pod's containers run the images that they were
// deployed with.
func (r *Run) runs(ctx context.Context, name string, own bool) error {
	pod, err := r.pod(ctx, name)
	if err != nil || pod == nil {
		return errors.Join(fmt.Errorf("pod %s cannot be seen", name), err)
	}
	i := slices.IndexFunc(r.pods, func(p corev1.Pod) bool { return p.Name == name })
	for k, c := range pod.Spec.Containers {
		if same := c.Image == r.pods[i].Spec.Containers[k].Image; same != own {
			return fmt.Errorf("container %s of pod %s has the image %s", c.Name, name, c.Image)
		}
	}
	if own && mesh.Ailing(*pod) != "" {
		return errors.New(mesh.Ailing(*pod))
	}
	return nil
}
