package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// container is the life of a fault that an ephemeral container makes in its pod.
type container struct {
	client client.Client
	patch  *corev1.Pod // holds the ephemeral container only
	uid    types.UID   // of the pod
	pod    corev1.Pod
}

// Unused gives the ephemeral container of a fault a name that its pod has not used up, if it
// has the fixture's, and returns the name. Only a pod's end frees one.
func Unused(ctx context.Context, c client.Client, o Object) (string, error) {
	patch, ok := o.(*corev1.Pod)
	if !ok {
		return "", fmt.Errorf("%s has no ephemeral container", name(o))
	}
	var pod corev1.Pod
	if err := c.Get(ctx, client.ObjectKeyFromObject(patch), &pod); err != nil {
		return "", fmt.Errorf("%s: %w", name(o), err)
	}
	own := &patch.Spec.EphemeralContainers[0].Name
	fixture := *own
	for n := 2; slices.ContainsFunc(pod.Spec.EphemeralContainers, func(e corev1.EphemeralContainer) bool { return e.Name == *own }); n++ {
		*own = fmt.Sprintf("%s-%d", fixture, n)
	}
	return *own, nil
}

func (f *container) spec() *corev1.EphemeralContainer { return &f.patch.Spec.EphemeralContainers[0] }

func (f *container) apply(ctx context.Context) error {
	if err := f.client.Get(ctx, client.ObjectKeyFromObject(f.patch), &f.pod); err != nil {
		return err
	}
	f.uid = f.pod.UID
	// The server would take the patch and do nothing.
	if slices.ContainsFunc(f.pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == f.spec().Name }) {
		return fmt.Errorf("the pod had an ephemeral container %q already, and keeps it: use another name, or a new pod", f.spec().Name)
	}
	b, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": f.patch.Spec.EphemeralContainers}})
	if err != nil {
		return err
	}
	return f.client.SubResource("ephemeralcontainers").Patch(ctx, &f.pod, client.RawPatch(types.StrategicMergePatchType, b))
}

func (f *container) look(ctx context.Context) error {
	if err := f.client.Get(ctx, client.ObjectKeyFromObject(f.patch), &f.pod); err != nil {
		return err
	}
	if f.pod.UID != f.uid { // its successor
		return apierrors.NewNotFound(corev1.Resource("pods"), f.patch.Name)
	}
	return nil
}

func (f *container) state() corev1.ContainerState {
	for _, s := range f.pod.Status.EphemeralContainerStatuses {
		if s.Name == f.spec().Name {
			return s.State
		}
	}
	return corev1.ContainerState{}
}

func (f *container) injected() (bool, error) {
	ended, err := f.recovered()
	return ended || f.state().Running != nil, err
}

func (f *container) recovered() (bool, error) {
	s := f.state()
	if s.Terminated == nil {
		return false, nil
	}
	if s.Terminated.ExitCode != 0 {
		return false, f.explain(context.Background())
	}
	return true, nil
}

func (f *container) victims() (source, target []string) { return []string{f.patch.Name}, nil }

func (f *container) explain(context.Context) error {
	s := f.state()
	if s == (corev1.ContainerState{}) {
		return fmt.Errorf("container %s was not started", f.spec().Name)
	}
	return fmt.Errorf("container %s%s", f.spec().Name, situation(s))
}

// remove waits for the container's end: Kubernetes keeps it in the pod's spec. If
// that takes too long, only the pod's end brings it.
func (f *container) remove(ctx context.Context, patience time.Duration) (forced bool, err error) {
	if f.ended(ctx, patience) == nil {
		return false, nil
	}
	pod := &corev1.Pod{ObjectMeta: f.patch.ObjectMeta}
	err = f.client.Delete(ctx, pod, client.Preconditions{UID: &f.uid})
	if client.IgnoreNotFound(err) != nil {
		return true, fmt.Errorf("delete pod %s, in which %s does not end: %w", f.patch.Name, f.spec().Name, err)
	}
	if err := f.ended(ctx, forcedFor); err != nil {
		return true, fmt.Errorf("pod %s does not go away: %w", f.patch.Name, err)
	}
	return true, nil
}

// ended waits until the container has ended, however, or its pod is gone.
func (f *container) ended(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		err := f.look(ctx)
		return apierrors.IsNotFound(err) || err == nil && f.state().Terminated != nil, nil
	})
}
