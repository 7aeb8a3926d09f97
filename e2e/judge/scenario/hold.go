package scenario

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

// heldBack is the name of the quota that keeps successors away.
const heldBack = "no-successor"

// HoldBack lets no new pod into the mesh's namespace until the returned function is
// called: a cluster that is full. A quota of pods leaves those that run alone, and the
// StatefulSet's controller tries again by itself once it is gone.
func (r *Run) HoldBack(ctx context.Context) (release func(context.Context) error, err error) {
	quotas := r.env.Kube.CoreV1().ResourceQuotas(r.Mesh.Namespace)
	none := corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: heldBack}, Spec: corev1.ResourceQuotaSpec{Hard: none}}
	if _, err := quotas.Create(ctx, q, metav1.CreateOptions{}); err != nil {
		return nil, verdict.Unproven(fmt.Errorf("hold successors back: %w", err))
	}
	// Without its status the admission of pods lets everything in.
	err = await(ctx, WaitAnswer, func(ctx context.Context) error {
		q, err := quotas.Get(ctx, heldBack, metav1.GetOptions{})
		if err == nil && q.Status.Hard == nil {
			err = fmt.Errorf("quota %s is not in force yet", heldBack)
		}
		return err
	})
	if err != nil {
		return nil, verdict.Unproven(err)
	}
	return func(ctx context.Context) error {
		return verdict.Unproven(quotas.Delete(ctx, heldBack, metav1.DeleteOptions{}))
	}, nil
}

// LeastHeldBack is how long a successor must be held back for a crash that is one.
const LeastHeldBack = 5 * time.Second

// AwaitDead waits until the victim has been dead for as long as a successor must be held
// back, and checks that there is none until then.
func (c *Crash) AwaitDead(ctx context.Context) error {
	if err := awaitTime(ctx, c.DiedAt.Add(LeastHeldBack)); err != nil {
		return err
	}
	pod, err := Read(ctx, func(ctx context.Context) (*corev1.Pod, error) { return c.run.pod(ctx, c.Victim) })
	if err != nil {
		return err
	}
	if pod != nil && pod.UID != c.killed.UID {
		return verdict.Unproven(fmt.Errorf("pod %s has a successor before %v were over", c.Victim, LeastHeldBack))
	}
	return nil
}
