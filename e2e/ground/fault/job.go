package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// job is the life of a fault that a Job's pod makes.
type job struct {
	client client.Client
	object *batchv1.Job
	pods   corev1.PodList
}

func (f *job) apply(ctx context.Context) error { return f.client.Create(ctx, f.object) }

func (f *job) look(ctx context.Context) error {
	if err := f.client.Get(ctx, client.ObjectKeyFromObject(f.object), f.object); err != nil {
		return err
	}
	return f.client.List(ctx, &f.pods, client.InNamespace(f.object.Namespace),
		client.MatchingLabels{batchv1.JobNameLabel: f.object.Name})
}

func (f *job) injected() (bool, error) {
	if done, err := f.recovered(); done || err != nil {
		return done, err
	}
	return slices.ContainsFunc(f.pods.Items, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }), nil
}

func (f *job) recovered() (bool, error) {
	for _, c := range f.object.Status.Conditions {
		switch {
		case c.Status != corev1.ConditionTrue:
		case c.Type == batchv1.JobComplete:
			return true, nil
		case c.Type == batchv1.JobFailed:
			return false, fmt.Errorf("it failed: %s: %w", c.Message, f.explain(context.Background()))
		}
	}
	return false, nil
}

func (f *job) victims() (source, target []string) { return nil, nil }

func (f *job) explain(context.Context) error {
	if len(f.pods.Items) == 0 {
		return errors.New("it has no pod yet")
	}
	var parts []string
	for _, p := range f.pods.Items {
		line := fmt.Sprintf("pod %s %s", p.Name, p.Status.Phase)
		for _, s := range p.Status.ContainerStatuses {
			line += situation(s.State)
		}
		parts = append(parts, line)
	}
	return errors.New(strings.Join(parts, "; "))
}

// situation tells of a container what keeps it from running, and its last words.
func situation(s corev1.ContainerState) string {
	switch {
	case s.Waiting != nil:
		return fmt.Sprintf(", waits: %s %s", s.Waiting.Reason, s.Waiting.Message)
	case s.Terminated != nil:
		return fmt.Sprintf(", ended with code %d: %s", s.Terminated.ExitCode, strings.TrimSpace(s.Terminated.Message))
	}
	return ""
}

// remove deletes the Job after its pods, so that a Job that is gone makes no fault.
func (f *job) remove(ctx context.Context, patience time.Duration) (forced bool, err error) {
	err = f.client.Delete(ctx, f.object, client.PropagationPolicy(metav1.DeletePropagationForeground))
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("delete %s: %w", name(f.object), err)
	}
	if err := gone(ctx, f.client, f.object, patience); err != nil {
		return false, fmt.Errorf("%s does not go away: %w", name(f.object), f.explain(ctx))
	}
	return false, nil
}
