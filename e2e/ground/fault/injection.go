package fault

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// pollEvery is the time between two looks at an object.
	pollEvery = 200 * time.Millisecond
	// forcedFor is how long a forced deletion may take.
	forcedFor = 20 * time.Second
)

// Injection is a fault in the cluster.
type Injection struct {
	client client.Client
	object Object
	kind   lifecycle
}

// lifecycle is what differs between the kinds of faults. What injected, recovered
// and victims say is as of the last look.
type lifecycle interface {
	// apply brings the fault into the cluster.
	apply(ctx context.Context) error
	// look reads the state of the fault. That the object is gone is NotFound.
	look(ctx context.Context) error
	// injected and recovered tell how far it is; an error says that it will never
	// come so far.
	injected() (bool, error)
	recovered() (bool, error)
	// victims are the pods that the fault was put into, on the source's side and on the target's.
	victims() (source, target []string)
	// explain tells in one line how far the fault came and why no further.
	explain(ctx context.Context) error
	// remove deletes it; see Injection.Delete.
	remove(ctx context.Context, patience time.Duration) (forced bool, err error)
}

// Apply brings the object into the cluster. What the webhooks or the schema refuse
// comes back as the API server's error.
func Apply(ctx context.Context, c client.Client, o Object) (*Injection, error) {
	i := &Injection{client: c, object: o}
	switch o := o.(type) {
	case *v1alpha1.Schedule:
		i.kind = &scheduled{client: c, object: o}
	case *batchv1.Job:
		i.kind = &job{client: c, object: o}
	case *corev1.Pod:
		i.kind = &container{client: c, patch: o}
	case experiment:
		i.kind = &chaos{client: c, object: o}
	default:
		return nil, fmt.Errorf("%T is no fault", o)
	}
	if err := i.kind.apply(ctx); err != nil {
		return nil, fmt.Errorf("apply %s: %w", name(o), err)
	}
	return i, nil
}

// WaitInjected waits until the fault is on in every selected pod: Chaos Mesh says so,
// and paused containers run the pause image; of a Schedule, until its first experiment is
// that far; a Job's or an ephemeral container's process runs. The error quotes the
// reason; it is ErrSelectsNothing if no pod at all is selected, which cannot be told
// earlier: Chaos Mesh says so, too, before it has looked.
func (i *Injection) WaitInjected(ctx context.Context) error {
	return i.waitFor(ctx, "injected", i.kind.injected)
}

// WaitRecovered waits until the fault is over and taken back everywhere: Chaos Mesh
// says so, and paused pods are ready again. A kill is over when the pod that comes after it
// is ready; a Job or an ephemeral container when its process ended well.
func (i *Injection) WaitRecovered(ctx context.Context) error {
	return i.waitFor(ctx, "recovered", i.kind.recovered)
}

// Victims returns the names of the pods that the fault was put into, sorted, as
// of the last wait. They are the selected ones, also where the mode leaves the choice
// to Chaos Mesh; a Job has none.
func (i *Injection) Victims() []string {
	source, target := i.kind.victims()
	return distinct(append(source, target...))
}

// Sides returns the victims by side, each sorted: those of the source selector and
// those of the target's. A pod can be on both. See Directions for what follows.
func (i *Injection) Sides() (source, target []string) {
	source, target = i.kind.victims()
	return distinct(source), distinct(target)
}

// distinct returns names sorted, each once.
func distinct(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// Earliest returns a time shortly before a Schedule made its first experiment, as of
// the last wait; zero of other faults, which begin when they are applied.
func (i *Injection) Earliest() time.Time {
	if s, ok := i.kind.(*scheduled); ok {
		return s.none
	}
	return time.Time{}
}

// Delete deletes the object and waits until it is gone. If that takes longer
// than patience, its finalizers are forced away, which leaves the fault in
// the pods: forced tells the caller to say so and to remove the pods. Of an ephemeral
// container, which cannot be deleted, it waits for the end, and deletes the pod if
// that takes longer than patience.
func (i *Injection) Delete(ctx context.Context, patience time.Duration) (forced bool, err error) {
	return i.kind.remove(ctx, patience)
}

func (i *Injection) waitFor(ctx context.Context, what string, done func() (bool, error)) error {
	seen := false
	var last error // a look that failed; the next may not
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		if last = i.kind.look(ctx); last != nil {
			if apierrors.IsNotFound(last) {
				return false, fmt.Errorf("%s is gone: somebody deleted it", name(i.object))
			}
			return false, nil
		}
		seen = true
		ok, err := done()
		if err != nil {
			return false, fmt.Errorf("%s is not %s: %w", name(i.object), what, err)
		}
		return ok, nil
	})
	if err == nil || !wait.Interrupted(err) {
		return err
	}
	// The caller's time is up, but the reason is worth a little more of it.
	explainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if !seen {
		return fmt.Errorf("%s is not %s in time: it cannot be read: %w", name(i.object), what, last)
	}
	return fmt.Errorf("%s is not %s in time: %w", name(i.object), what, i.kind.explain(explainCtx))
}

// gone waits until an object is no more.
func gone(ctx context.Context, c client.Client, o client.Object, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	key := client.ObjectKeyFromObject(o)
	return wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, key, o)
		return apierrors.IsNotFound(err), nil
	})
}
