package mesh

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A mesh begins with one node of each set, and WaitReady adds one at a time: a node that starts
// takes more of a machine than ten that run, and on a small one those of other meshes are kept
// from running meanwhile, for longer than it takes to call them unreachable. Clients come last: a session's home is a
// node that was there when it began, and every node is to be some session's.

// sizes are how many replicas each set of nodes, and each Deployment of clients, is to have in the end.
type sizes struct{ nodes, clients map[string]int32 }

// begin makes the sets of nodes small and leaves clients away, and returns how large each is to become.
func begin(objects []*unstructured.Unstructured) (sizes, error) {
	s := sizes{map[string]int32{}, map[string]int32{}}
	for _, o := range objects {
		app, _, err := unstructured.NestedString(o.Object, "spec", "template", "metadata", "labels", "app")
		switch {
		case o.GetKind() == "StatefulSet":
			err = errors.Join(err, beginWith(1, o, s.nodes))
		case o.GetKind() == "Deployment" && app == ClientApp:
			err = errors.Join(err, beginWith(0, o, s.clients))
		case o.GetKind() != "Deployment":
			continue
		}
		if err != nil {
			return s, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return s, nil
}

// beginWith gives a workload that is to have more replicas so many, and notes how many it is to have.
func beginWith(few int64, o *unstructured.Unstructured, sizes map[string]int32) error {
	n, found, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
	if err == nil && !found {
		n = 1
	}
	if err != nil || n <= few {
		return err
	}
	sizes[o.GetName()] = int32(n)
	return unstructured.SetNestedField(o.Object, few, "spec", "replicas")
}

// grow gives each set of nodes that is not as large as it is to be one more, if all that it has
// run, and brings clients when all nodes are ready. It returns what is still to come.
func (m *Mesh) grow(ctx context.Context) (missing []string, err error) {
	if len(m.sizes.nodes)+len(m.sizes.clients) == 0 {
		return nil, nil
	}
	pods, err := m.Pods(ctx, NodeApp)
	if err != nil {
		return nil, err
	}
	for name, size := range m.sizes.nodes {
		s := &appsv1.StatefulSet{}
		if err := m.client.Get(ctx, client.ObjectKey{Namespace: m.Namespace, Name: name}, s); err != nil {
			return nil, err
		}
		has, run := Replicas(s.Spec.Replicas), running(pods, name)
		if has >= size && run >= size {
			delete(m.sizes.nodes, name)
			continue
		}
		missing = append(missing, fmt.Sprintf("StatefulSet %s: %d of %d run", name, run, size))
		if has >= size || run < has {
			continue
		}
		before, more := client.MergeFrom(s.DeepCopy()), has+1
		s.Spec.Replicas = &more
		if err := m.client.Patch(ctx, s, before); err != nil {
			return missing, fmt.Errorf("add a node to StatefulSet %s: %w", name, err)
		}
	}
	if len(m.sizes.nodes) == 0 {
		return m.bringClients(ctx, pods)
	}
	for name := range m.sizes.clients {
		missing = append(missing, fmt.Sprintf("Deployment %s: not begun", name))
	}
	return missing, nil
}

// bringClients lets the clients begin, if all nodes are ready.
func (m *Mesh) bringClients(ctx context.Context, nodes []corev1.Pod) (missing []string, err error) {
	for _, p := range nodes {
		if why := Ailing(p); why != "" {
			return []string{"clients wait for " + why}, nil
		}
	}
	for name, size := range m.sizes.clients {
		d := &appsv1.Deployment{}
		if err := m.client.Get(ctx, client.ObjectKey{Namespace: m.Namespace, Name: name}, d); err != nil {
			return nil, err
		}
		if Replicas(d.Spec.Replicas) < size {
			before := client.MergeFrom(d.DeepCopy())
			d.Spec.Replicas = &size
			if err := m.client.Patch(ctx, d, before); err != nil {
				return nil, fmt.Errorf("bring the clients of Deployment %s: %w", name, err)
			}
		}
		delete(m.sizes.clients, name)
	}
	return nil, nil
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
