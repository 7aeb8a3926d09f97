package scenario

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// nodeOf is a node's pod that has been ready since a time.
func nodeOf(name, uid string, since time.Time) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "s1", Name: name, UID: types.UID(uid), Labels: map[string]string{"app": mesh.NodeApp}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(since)},
		}},
	}
}

// outageOf is a run of two nodes in a cluster in which only those end, when they are told to, that end says, and what it has of them.
func outageOf(t *testing.T, ends func(name string) bool) (*Run, *fake.Clientset) {
	t.Helper()
	pods := []corev1.Pod{nodeOf("a", "1", time.Now()), nodeOf("b", "2", time.Now())}
	kube := fake.NewClientset(&pods[0], &pods[1])
	kube.PrependReactor("create", "resourcequotas", func(a ktesting.Action) (bool, runtime.Object, error) {
		q, ok := a.(ktesting.CreateAction).GetObject().(*corev1.ResourceQuota)
		if !ok {
			t.Fatalf("%T", a)
		}
		q.Status.Hard = q.Spec.Hard // as its controller says that it is in force
		return false, nil, nil
	})
	kube.PrependReactor("delete", "resourcequotas", func(ktesting.Action) (bool, runtime.Object, error) {
		for _, p := range []corev1.Pod{nodeOf("a", "3", time.Now()), nodeOf("b", "4", time.Now())} {
			if !ends(p.Name) { // one that lives on has none in its place
				continue
			}
			if err := kube.Tracker().Add(&p); err != nil {
				t.Error(err)
			}
		}
		return false, nil, nil
	})
	c := crfake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		DeleteAllOf: func(ctx context.Context, _ client.WithWatch, _ client.Object, _ ...client.DeleteAllOfOption) error {
			if _, err := kube.CoreV1().ResourceQuotas("s1").Get(ctx, heldBack, metav1.GetOptions{}); err != nil {
				return fmt.Errorf("successors could come already: %w", err)
			}
			for _, p := range pods {
				if !ends(p.Name) {
					continue
				}
				if err := kube.CoreV1().Pods("s1").Delete(ctx, p.Name, metav1.DeleteOptions{}); err != nil {
					return err
				}
			}
			return nil
		},
	}).Build()
	return &Run{Scenario: &Scenario{Name: "x"}, Mesh: mesh.New(nil, kube, c, "s1"), env: Env{Kube: kube}, pods: pods}, kube
}

// TestAnOutageLeavesNobody: it is one only where every node has ended before any may come back, and in any case others may come then.
func TestAnOutageLeavesNobody(t *testing.T) {
	for name, c := range map[string]struct {
		ends func(name string) bool
		want report.Verdict
	}{
		"all end":      {func(string) bool { return true }, report.Passed},
		"one lives on": {func(name string) bool { return name == "a" }, report.Invalid},
		"none ends":    {func(string) bool { return false }, report.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				r, kube := outageOf(t, c.ends)
				o, err := r.EndAll(t.Context())
				if verdict.Of(err) != c.want || (err == nil) != (o != nil) {
					t.Errorf("%v, %v, want %s", o, err, c.want)
				}
				if _, err := kube.CoreV1().ResourceQuotas("s1").Get(t.Context(), heldBack, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
					t.Errorf("successors are still held back: %v", err)
				}
			})
		})
	}
	r, kube := outageOf(t, func(string) bool { return true })
	r.env.Absent = true
	o, err := r.EndAll(t.Context())
	if err != nil || o.Began.IsZero() || !o.Freed.Equal(o.Began) {
		t.Errorf("absent: %+v, %v", o, err)
	}
	if l, err := kube.CoreV1().Pods("s1").List(t.Context(), metav1.ListOptions{}); err != nil || len(l.Items) != 2 {
		t.Errorf("absent: %v, %v", l, err)
	}
}

// TestBackFromAnOutage: all of them, each by another pod.
func TestBackFromAnOutage(t *testing.T) {
	freed := at(0)
	ready := func(name, uid string, ms int) corev1.Pod { return nodeOf(name, uid, at(ms)) }
	ailing := ready("b", "4", 3000)
	ailing.Status.Conditions = nil
	for name, c := range map[string]struct {
		now  []corev1.Pod
		want report.Verdict
	}{
		"all are back":               {[]corev1.Pod{ready("a", "3", 2000), ready("b", "4", 3000)}, report.Passed},
		"one has not come":           {[]corev1.Pod{ready("a", "3", 2000)}, report.Failed},
		"one is not ready":           {[]corev1.Pod{ready("a", "3", 2000), ailing}, report.Failed},
		"one is the same as before":  {[]corev1.Pod{ready("a", "3", 2000), ready("b", "2", 3000)}, report.Failed},
		"none has come":              {nil, report.Failed},
		"others have come in place":  {[]corev1.Pod{ready("c", "3", 2000), ready("d", "4", 3000)}, report.Failed},
		"all are the same as before": {[]corev1.Pod{ready("a", "1", 0), ready("b", "2", 0)}, report.Failed},
	} {
		kube := fake.NewClientset()
		for i := range c.now {
			if err := kube.Tracker().Add(&c.now[i]); err != nil {
				t.Fatal(err)
			}
		}
		o := &Outage{
			Freed: freed, killed: []corev1.Pod{ready("a", "1", 0), ready("b", "2", 0)},
			run: &Run{Mesh: mesh.New(nil, kube, crfake.NewClientBuilder().Build(), "s1")},
		}
		took, err := o.Back(t.Context())
		if verdict.Of(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if err == nil && (took["a"] != 2*time.Second || took["b"] != 3*time.Second) {
			t.Errorf("%s: %v", name, took)
		}
	}
}

// TestPromised: what was acknowledged later, or never, cannot be lost by the outage.
func TestPromised(t *testing.T) {
	wrote := func(n, ms int, result api.Result) (ops []api.Operation) {
		for i := range n {
			ops = append(ops, api.Operation{Op: api.OpWrite, ID: fmt.Sprintf("%d-%d", ms, i), Result: result, Invoked: at(ms - 10), Returned: at(ms)})
		}
		return ops
	}
	for name, c := range map[string]struct {
		ops  []api.Operation
		want report.Verdict
	}{
		"enough":                        {wrote(LeastPromised, 1000, api.OK), report.Passed},
		"one too few":                   {wrote(LeastPromised-1, 1000, api.OK), report.Invalid},
		"one of them after":             {append(wrote(LeastPromised-1, 1000, api.OK), wrote(1, 3000, api.OK)...), report.Invalid},
		"all after":                     {wrote(10*LeastPromised, 3000, api.OK), report.Invalid},
		"nobody knows whether they are": {wrote(10*LeastPromised, 1000, api.Unknown), report.Invalid},
		"nothing":                       {nil, report.Invalid},
	} {
		if err := promised(c.ops, at(2000)); verdict.Of(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
