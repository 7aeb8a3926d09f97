package mesh

import (
	"testing"
	"testing/fstest"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
)

const clients = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: mesh-client
  namespace: x0tta6bl4
spec:
  template:
    metadata:
      labels: {app: mesh-client}
`

const threeNodes = `apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: mesh-node-a
  namespace: x0tta6bl4
spec:
  replicas: 3
`

// TestAMeshGrows: a set of nodes begins with one, and gets another when all that it has run, up
// to its size. A mesh is not ready before.
func TestAMeshGrows(t *testing.T) {
	ctx, c, k := t.Context(), crfake.NewClientBuilder().Build(), fake.NewClientset()
	m := New(nil, k, c, "s1")
	if err := m.Deploy(ctx, fstest.MapFS{"mesh.yaml": {Data: []byte(threeNodes)}, "client.yaml": {Data: []byte(clients)}}); err != nil {
		t.Fatal(err)
	}
	size := func() int32 {
		t.Helper()
		var s appsv1.StatefulSet
		if err := c.Get(ctx, client.ObjectKey{Namespace: "s1", Name: "mesh-node-a"}, &s); err != nil {
			t.Fatal(err)
		}
		return *s.Spec.Replicas
	}
	pod := func(name string, phase corev1.PodPhase) {
		t.Helper()
		controls := true
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "s1", Name: name, Labels: map[string]string{"app": NodeApp},
				OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: name[:len("mesh-node-a")], Controller: &controls}},
			},
			Status: corev1.PodStatus{Phase: phase},
		}
		if phase == corev1.PodRunning {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		if _, err := k.CoreV1().Pods("s1").Create(ctx, p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	unready := func(yes bool) {
		t.Helper()
		p, err := k.CoreV1().Pods("s1").Get(ctx, "mesh-node-b-0", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p.Status.Conditions[0].Status = corev1.ConditionTrue
		if yes {
			p.Status.Conditions[0].Status = corev1.ConditionFalse
		}
		if _, err := k.CoreV1().Pods("s1").UpdateStatus(ctx, p, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	clients := func() int32 {
		t.Helper()
		var d appsv1.Deployment
		if err := c.Get(ctx, client.ObjectKey{Namespace: "s1", Name: "mesh-client"}, &d); err != nil {
			t.Fatal(err)
		}
		return *d.Spec.Replicas
	}
	steps := []struct {
		begins func()
		size   int32
		ready  bool
	}{
		{func() {}, 1, false},
		{func() { pod("mesh-node-a-0", corev1.PodPending) }, 1, false},
		{func() { pod("mesh-node-b-0", corev1.PodRunning) }, 1, false}, // of another set
		{func() {
			if err := k.CoreV1().Pods("s1").Delete(ctx, "mesh-node-a-0", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			pod("mesh-node-a-0", corev1.PodRunning)
		}, 2, false},
		{func() {}, 2, false},
		{func() { pod("mesh-node-a-1", corev1.PodRunning) }, 3, false},
		{func() {}, 3, false}, // the last one is not to be seen yet, and all that are run
		{func() { unready(true) }, 3, false},
		{func() { pod("mesh-node-a-2", corev1.PodRunning) }, 3, false}, // clients wait for every node
		{func() { unready(false) }, 3, true},
		{func() { pod("mesh-node-a-3", corev1.PodRunning) }, 3, true}, // and no further
	}
	for i, s := range steps {
		s.begins()
		missing, err := m.grow(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if s.ready != (clients() == 1) {
			t.Errorf("%d: %d clients", i, clients())
		}
		if n := size(); n != s.size || (len(missing) == 0) != s.ready {
			t.Errorf("%d: %d nodes, and %v is to come; wanted %d, all there: %v", i, n, missing, s.size, s.ready)
		}
	}
	// What an autoscaler made larger meanwhile stays so.
	var s appsv1.StatefulSet
	if err := c.Get(ctx, client.ObjectKey{Namespace: "s1", Name: "mesh-node-a"}, &s); err != nil {
		t.Fatal(err)
	}
	*s.Spec.Replicas = 4
	if err := c.Update(ctx, &s); err != nil {
		t.Fatal(err)
	}
	if missing, err := m.grow(ctx); err != nil || len(missing) > 0 || size() != 4 {
		t.Errorf("%d nodes, %v, %v", size(), missing, err)
	}
}
