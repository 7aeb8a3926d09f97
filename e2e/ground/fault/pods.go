package fault

import (
	"context"
	"fmt"
	"slices"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pods are those of a namespace, before a fault and now. They say what Chaos Mesh
// does not: its conditions tell of a PodChaos only that pods were patched or deleted.
// Other experiments need none.
type pods struct {
	before, now map[string]corev1.Pod
}

func (p *pods) remember(ctx context.Context, c client.Client, e experiment) (err error) {
	p.before, err = podsFor(ctx, c, e)
	return err
}

func (p *pods) look(ctx context.Context, c client.Client, e experiment) (err error) {
	p.now, err = podsFor(ctx, c, e)
	return err
}

func podsFor(ctx context.Context, c client.Client, e experiment) (map[string]corev1.Pod, error) {
	if _, ok := e.(*v1alpha1.PodChaos); !ok {
		return nil, nil
	}
	var l corev1.PodList
	if err := c.List(ctx, &l, client.InNamespace(e.GetNamespace())); err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", e.GetNamespace(), err)
	}
	all := map[string]corev1.Pod{}
	for _, pod := range l.Items {
		all[pod.Name] = pod
	}
	return all, nil
}

func (p *pods) injected(e experiment) bool {
	if condition(e, v1alpha1.ConditionAllInjected) != corev1.ConditionTrue {
		return false
	}
	if c, ok := e.(*v1alpha1.PodChaos); ok && c.Spec.Action == v1alpha1.PodFailureAction {
		return p.every(e, func(before, now corev1.Pod) bool { return restarted(before, now) })
	}
	return true
}

// recovered looks at the desired phase too: before the injection nothing is
// injected either, and AllRecovered is true then. A kill never gets so far.
func (p *pods) recovered(e experiment) bool {
	if e.IsOneShot() {
		return p.injected(e) && p.every(e, func(before, now corev1.Pod) bool { return restarted(before, now) && Ready(now) })
	}
	if condition(e, v1alpha1.ConditionAllRecovered) != corev1.ConditionTrue ||
		e.GetStatus().Experiment.DesiredPhase != v1alpha1.StoppedPhase {
		return false
	}
	if _, ok := e.(*v1alpha1.PodChaos); ok {
		return p.every(e, func(_, now corev1.Pod) bool { return Ready(now) })
	}
	return true
}

// every reports whether there are victims and all are as wanted.
func (p *pods) every(e experiment, as func(before, now corev1.Pod) bool) bool {
	names, _ := victims(e)
	for _, n := range names {
		now, ok := p.now[n]
		if !ok || !as(p.before[n], now) {
			return false
		}
	}
	return len(names) > 0
}

// restarted reports whether every container runs, and none of those that ran
// before.
func restarted(before, now corev1.Pod) bool {
	was := map[string]bool{}
	for _, s := range before.Status.ContainerStatuses {
		was[s.ContainerID] = true
	}
	return len(now.Status.ContainerStatuses) > 0 && !slices.ContainsFunc(now.Status.ContainerStatuses,
		func(s corev1.ContainerStatus) bool { return s.State.Running == nil || was[s.ContainerID] })
}

// Ready tells whether a pod is, and is not to go.
func Ready(p corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
