package mesh

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A mesh begins with one node of each set, and WaitReady adds one at a time: a node that starts
// takes more of a machine than ten that run, and on a small one those of other meshes are kept
// from running meanwhile, for longer than it takes to call them unreachable.

// begin makes the sets of nodes small, and returns how large each is to become.
func begin(objects []*unstructured.Unstructured) (map[string]int32, error) {
	sizes := map[string]int32{}
	for _, o := range objects {
		if o.GetKind() != "StatefulSet" {
			continue
		}
		n, found, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
		if err != nil {
			return nil, fmt.Errorf("StatefulSet %s: %w", o.GetName(), err)
		}
		if found && n > 1 {
			sizes[o.GetName()] = int32(n)
			if err := unstructured.SetNestedField(o.Object, int64(1), "spec", "replicas"); err != nil {
				return nil, fmt.Errorf("StatefulSet %s: %w", o.GetName(), err)
			}
		}
	}
	return sizes, nil
}

// grow gives each set of nodes that is not as large as it is to be one more, if all that it has
// run. It returns what is still to come.
func (m *Mesh) grow(ctx context.Context) (missing []string, err error) {
	if len(m.sizes) == 0 {
		return nil, nil
	}
	pods, err := m.Pods(ctx, NodeApp)
	if err != nil {
		return nil, err
	}
	for name, size := range m.sizes {
		s := &appsv1.StatefulSet{}
		if err := m.client.Get(ctx, client.ObjectKey{Namespace: m.Namespace, Name: name}, s); err != nil {
			return nil, err
		}
		has := replicas(s.Spec.Replicas)
		if has >= size {
			delete(m.sizes, name)
			continue
		}
		missing = append(missing, fmt.Sprintf("StatefulSet %s: %d of %d begun", name, has, size))
		if running(pods, name) < has {
			continue
		}
		before, more := client.MergeFrom(s.DeepCopy()), has+1
		s.Spec.Replicas = &more
		if err := m.client.Patch(ctx, s, before); err != nil {
			return missing, fmt.Errorf("add a node to StatefulSet %s: %w", name, err)
		}
	}
	return missing, nil
}

// running counts the pods of a set whose containers have all begun.
func running(pods []corev1.Pod, set string) (n int32) {
	for _, p := range pods {
		if of := metav1.GetControllerOf(&p); of != nil && of.Name == set && p.Status.Phase == corev1.PodRunning {
			n++
		}
	}
	return n
}
