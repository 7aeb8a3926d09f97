package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	cleanFinalizer       = "chaos-mesh.chaos-mesh.org/cleanFinalizer"
	cleanFinalizerForced = "forced"

	// targetKey is a record's selector key where the target selector chose the pod.
	targetKey = ".Target"
)

// chaos is the life of a Chaos Mesh experiment.
type chaos struct {
	client client.Client
	object experiment
	pods   pods
}

func (f *chaos) apply(ctx context.Context) error {
	if err := f.pods.remember(ctx, f.client, f.object); err != nil {
		return err
	}
	return f.client.Create(ctx, f.object)
}

func (f *chaos) look(ctx context.Context) error {
	if err := f.client.Get(ctx, client.ObjectKeyFromObject(f.object), f.object); err != nil {
		return err
	}
	return f.pods.look(ctx, f.client, f.object)
}

func (f *chaos) injected() (bool, error)  { return f.pods.injected(f.object), nil }
func (f *chaos) recovered() (bool, error) { return f.pods.recovered(f.object), nil }

func (f *chaos) victims() (source, target []string) { return victims(f.object) }

// victims reads the pods from the records, whose ids are NAMESPACE/POD, with
// /CONTAINER after it where containers are selected.
func victims(e experiment) (source, target []string) {
	for _, r := range e.GetStatus().Experiment.Records {
		parts := strings.Split(r.Id, "/")
		switch {
		case len(parts) < 2:
		case r.SelectorKey == targetKey:
			target = append(target, parts[1])
		default:
			source = append(source, parts[1])
		}
	}
	return source, target
}

func condition(e experiment, kind v1alpha1.ChaosConditionType) corev1.ConditionStatus {
	for _, c := range e.GetStatus().Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

func (f *chaos) explain(ctx context.Context) error { return explain(ctx, f.client, f.object) }

func explain(ctx context.Context, c client.Client, e experiment) error {
	s := e.GetStatus()
	if condition(e, v1alpha1.ConditionSelected) == corev1.ConditionFalse && len(s.Experiment.Records) == 0 {
		return ErrSelectsNothing
	}
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
	if err := c.List(ctx, &network, client.InNamespace(e.GetNamespace())); err != nil {
		parts = append(parts, fmt.Sprintf("PodNetworkChaos: %v", err))
	}
	for _, p := range network.Items {
		if p.Status.FailedMessage != "" {
			parts = append(parts, fmt.Sprintf("PodNetworkChaos %s: %s", p.Name, p.Status.FailedMessage))
		}
	}
	var disks v1alpha1.PodIOChaosList
	if err := c.List(ctx, &disks, client.InNamespace(e.GetNamespace())); err != nil {
		parts = append(parts, fmt.Sprintf("PodIOChaos: %v", err))
	}
	for _, p := range disks.Items {
		if p.Status.FailedMessage != "" {
			parts = append(parts, fmt.Sprintf("PodIOChaos %s: %s", p.Name, p.Status.FailedMessage))
		}
	}
	return errors.New(strings.Join(parts, "; "))
}

func (f *chaos) remove(ctx context.Context, patience time.Duration) (forced bool, err error) {
	return removeForced(ctx, f.client, f.object, patience)
}

// removeForced deletes an object of Chaos Mesh, with the annotation that makes the
// controller give up its finalizers as the last resort.
func removeForced(ctx context.Context, c client.Client, o client.Object, patience time.Duration) (forced bool, err error) {
	if err := c.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("delete %s: %w", name(o), err)
	}
	if gone(ctx, c, o, patience) == nil {
		return false, nil
	}
	patch := client.RawPatch("application/merge-patch+json",
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, cleanFinalizer, cleanFinalizerForced))
	if err := c.Patch(ctx, o, patch); client.IgnoreNotFound(err) != nil {
		return true, fmt.Errorf("force the deletion of %s: %w", name(o), err)
	}
	if gone(ctx, c, o, forcedFor) == nil {
		return true, nil
	}
	why := fmt.Errorf("finalizers %v", o.GetFinalizers())
	if e, ok := o.(experiment); ok {
		why = explain(ctx, c, e)
	}
	return true, fmt.Errorf("%s does not go away, not even by force: %w", name(o), why)
}
