package fault

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
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

	cleanFinalizer       = "chaos-mesh.chaos-mesh.org/cleanFinalizer"
	cleanFinalizerForced = "forced"
)

// Injection is a fault in the cluster.
type Injection struct {
	client client.Client
	object Object
}

// Apply creates the object. What the webhooks or the schema refuse comes back
// as the API server's error.
func Apply(ctx context.Context, c client.Client, o Object) (*Injection, error) {
	if err := c.Create(ctx, o); err != nil {
		return nil, fmt.Errorf("apply %s: %w", name(o), err)
	}
	return &Injection{client: c, object: o}, nil
}

func name(o Object) string {
	// The client clears the kind of what it reads, so the type has to tell.
	kind := strings.TrimPrefix(fmt.Sprintf("%T", o), "*v1alpha1.")
	return fmt.Sprintf("%s %s/%s", kind, o.GetNamespace(), o.GetName())
}

// WaitInjected waits until Chaos Mesh says that the fault is on in every
// selected pod. The error quotes what Chaos Mesh recorded; it is
// ErrSelectsNothing if that is no pod at all, which cannot be told earlier:
// Chaos Mesh says so, too, before it has looked.
func (i *Injection) WaitInjected(ctx context.Context) error {
	err := i.waitFor(ctx, "injected", func(s *v1alpha1.ChaosStatus) bool {
		return condition(s, v1alpha1.ConditionAllInjected) == corev1.ConditionTrue
	})
	s := i.object.GetStatus()
	if err != nil && condition(s, v1alpha1.ConditionSelected) == corev1.ConditionFalse && len(s.Experiment.Records) == 0 {
		return fmt.Errorf("%s: %w", name(i.object), ErrSelectsNothing)
	}
	return err
}

// WaitRecovered waits until the fault is over and taken back everywhere.
func (i *Injection) WaitRecovered(ctx context.Context) error {
	return i.waitFor(ctx, "recovered", recovered)
}

// recovered looks at the desired phase too: before the injection nothing is
// injected either, and AllRecovered is true then.
func recovered(s *v1alpha1.ChaosStatus) bool {
	return condition(s, v1alpha1.ConditionAllRecovered) == corev1.ConditionTrue &&
		s.Experiment.DesiredPhase == v1alpha1.StoppedPhase
}

func condition(s *v1alpha1.ChaosStatus, kind v1alpha1.ChaosConditionType) corev1.ConditionStatus {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

func (i *Injection) waitFor(ctx context.Context, what string, done func(*v1alpha1.ChaosStatus) bool) error {
	seen := false
	var last error // a look that failed; the next may not
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		if last = i.client.Get(ctx, client.ObjectKeyFromObject(i.object), i.object); last != nil {
			if apierrors.IsNotFound(last) {
				return false, fmt.Errorf("%s is gone: somebody deleted it", name(i.object))
			}
			return false, nil
		}
		seen = true
		return done(i.object.GetStatus()), nil
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
	return fmt.Errorf("%s is not %s in time: %s", name(i.object), what, i.explain(explainCtx))
}

// explain tells in one line how far Chaos Mesh came and why no further.
func (i *Injection) explain(ctx context.Context) string {
	s := i.object.GetStatus()
	parts := []string{fmt.Sprintf("desired phase %q", s.Experiment.DesiredPhase)}
	if len(s.Experiment.Records) == 0 {
		parts = append(parts, "no pod recorded (is the controller manager running, and does its API match the CRDs?)")
	}
	for _, r := range s.Experiment.Records {
		line := fmt.Sprintf("%s %s", r.Id, r.Phase)
		for n := len(r.Events) - 1; n >= 0; n-- {
			if e := r.Events[n]; e.Type == v1alpha1.TypeFailed {
				line += fmt.Sprintf(" (%s: %s)", e.Operation, e.Message)
				break
			}
		}
		parts = append(parts, line)
	}
	var network v1alpha1.PodNetworkChaosList
	if err := i.client.List(ctx, &network, client.InNamespace(i.object.GetNamespace())); err != nil {
		parts = append(parts, fmt.Sprintf("PodNetworkChaos: %v", err))
	}
	for _, p := range network.Items {
		if p.Status.FailedMessage != "" {
			parts = append(parts, fmt.Sprintf("PodNetworkChaos %s: %s", p.Name, p.Status.FailedMessage))
		}
	}
	return strings.Join(parts, "; ")
}

// Delete deletes the object and waits until it is gone. If that takes longer
// than patience, its finalizers are forced away, which leaves the fault in
// the pods: forced tells the caller to say so and to remove the pods.
func (i *Injection) Delete(ctx context.Context, patience time.Duration) (forced bool, err error) {
	if err := i.client.Delete(ctx, i.object); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("delete %s: %w", name(i.object), err)
	}
	if i.gone(ctx, patience) == nil {
		return false, nil
	}
	patch := client.RawPatch("application/merge-patch+json",
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, cleanFinalizer, cleanFinalizerForced))
	if err := i.client.Patch(ctx, i.object, patch); client.IgnoreNotFound(err) != nil {
		return true, fmt.Errorf("force the deletion of %s: %w", name(i.object), err)
	}
	if err := i.gone(ctx, forcedFor); err != nil {
		return true, fmt.Errorf("%s does not go away, not even by force: %s", name(i.object), i.explain(ctx))
	}
	return true, nil
}

func (i *Injection) gone(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	key := client.ObjectKeyFromObject(i.object)
	return wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		err := i.client.Get(ctx, key, i.object)
		return apierrors.IsNotFound(err), nil
	})
}
