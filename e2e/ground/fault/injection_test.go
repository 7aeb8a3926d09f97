package fault

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func fakeClient(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, batchv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

func conditions(kinds ...v1alpha1.ChaosConditionType) (cs []v1alpha1.ChaosCondition) {
	for _, k := range kinds {
		cs = append(cs, v1alpha1.ChaosCondition{Type: k, Status: corev1.ConditionTrue})
	}
	return cs
}

func failed(message string) []v1alpha1.RecordEvent {
	return []v1alpha1.RecordEvent{{Type: v1alpha1.TypeFailed, Operation: v1alpha1.Apply, Message: message, Timestamp: &metav1.Time{}}}
}

// applied returns an injection whose object has the status.
func applied(t *testing.T, s v1alpha1.ChaosStatus, others ...client.Object) *Injection {
	t.Helper()
	c := fakeClient(t, others...)
	o := partition(t)
	o.Status.ChaosStatus = s
	i, err := Apply(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestWaitInjected(t *testing.T) {
	i := applied(t, v1alpha1.ChaosStatus{
		Conditions: conditions(v1alpha1.ConditionSelected, v1alpha1.ConditionAllInjected),
		Experiment: v1alpha1.ExperimentStatus{DesiredPhase: v1alpha1.RunningPhase},
	})
	if err := i.WaitInjected(soon(t)); err != nil {
		t.Fatal(err)
	}
}

func TestWaitInjectedQuotesWhy(t *testing.T) {
	i := applied(t, v1alpha1.ChaosStatus{
		Conditions: conditions(v1alpha1.ConditionSelected),
		Experiment: v1alpha1.ExperimentStatus{DesiredPhase: v1alpha1.RunningPhase, Records: []*v1alpha1.Record{
			{Id: "x0tta6bl4/a-0", Phase: v1alpha1.Injected},
			{Id: "x0tta6bl4/b-0", Phase: v1alpha1.NotInjected, Events: failed("no such device")},
		}},
	}, &v1alpha1.PodNetworkChaos{
		ObjectMeta: metav1.ObjectMeta{Namespace: "x0tta6bl4", Name: "b-0"},
		Status:     v1alpha1.PodNetworkChaosStatus{FailedMessage: "unable to flush ip sets"},
	})
	err := i.WaitInjected(soon(t))
	if err == nil {
		t.Fatal("taken for injected")
	}
	for _, want := range []string{"not injected in time", "b-0", "no such device", "unable to flush ip sets"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

// What Chaos Mesh says before it has looked for pods must not end the wait.
func TestWaitInjectedIsPatientWhilePodsAreSelected(t *testing.T) {
	i := applied(t, v1alpha1.ChaosStatus{
		Conditions: []v1alpha1.ChaosCondition{{Type: v1alpha1.ConditionSelected, Status: corev1.ConditionFalse}},
		Experiment: v1alpha1.ExperimentStatus{DesiredPhase: v1alpha1.RunningPhase},
	})
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { done <- i.WaitInjected(ctx) }()
	later := partition(t)
	if err := i.client.Get(t.Context(), client.ObjectKeyFromObject(later), later); err != nil {
		t.Fatal(err)
	}
	later.Status.Conditions = conditions(v1alpha1.ConditionSelected, v1alpha1.ConditionAllInjected)
	select {
	case err := <-done:
		t.Fatalf("ended early: %v", err)
	case <-time.After(3 * pollEvery):
	}
	if err := i.client.Update(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWaitInjectedSeesThatNothingIsSelected(t *testing.T) {
	i := applied(t, v1alpha1.ChaosStatus{
		Conditions: []v1alpha1.ChaosCondition{{Type: v1alpha1.ConditionSelected, Status: corev1.ConditionFalse}},
		Experiment: v1alpha1.ExperimentStatus{DesiredPhase: v1alpha1.RunningPhase},
	})
	if err := i.WaitInjected(soon(t)); !errors.Is(err, ErrSelectsNothing) {
		t.Fatalf("got %v", err)
	}
}

// AllRecovered is true before the injection, too.
func TestWaitRecoveredWantsTheStop(t *testing.T) {
	recoveredAll := conditions(v1alpha1.ConditionAllRecovered)
	i := applied(t, v1alpha1.ChaosStatus{Conditions: recoveredAll,
		Experiment: v1alpha1.ExperimentStatus{DesiredPhase: v1alpha1.RunningPhase}})
	if err := i.WaitRecovered(soon(t)); err == nil {
		t.Fatal("taken for recovered before it was injected")
	}
	i = applied(t, v1alpha1.ChaosStatus{Conditions: recoveredAll,
		Experiment: v1alpha1.ExperimentStatus{DesiredPhase: v1alpha1.StoppedPhase}})
	if err := i.WaitRecovered(soon(t)); err != nil {
		t.Fatal(err)
	}
}

func TestWaitNoticesADeletedObject(t *testing.T) {
	i := applied(t, v1alpha1.ChaosStatus{})
	if _, err := i.Delete(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if err := i.WaitRecovered(soon(t)); err == nil || !strings.Contains(err.Error(), "deleted") {
		t.Fatalf("got %v", err)
	}
}

func TestDeleteForcesAsALastResort(t *testing.T) {
	c := fakeClient(t)
	o := partition(t)
	o.Finalizers = []string{"chaos-mesh/records"}
	i, err := Apply(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	// The controller: takes its finalizer away only when told to by force.
	key := client.ObjectKeyFromObject(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			var n v1alpha1.NetworkChaos
			if err := c.Get(ctx, key, &n); err != nil || n.Annotations[cleanFinalizer] != cleanFinalizerForced {
				continue
			}
			n.Finalizers = nil
			if err := c.Update(ctx, &n); err != nil && ctx.Err() == nil {
				t.Errorf("remove the finalizer: %v", err)
			}
			return
		}
	}()
	forced, err := i.Delete(t.Context(), 100*time.Millisecond)
	cancel()
	<-done
	if err != nil || !forced {
		t.Fatalf("forced %v, error %v", forced, err)
	}
	left, err := Objects(t.Context(), c, o.Namespace)
	if err != nil || len(left) != 0 {
		t.Fatalf("left %v, error %v", left, err)
	}
}

func TestSnapshotAndObjects(t *testing.T) {
	i := applied(t, v1alpha1.ChaosStatus{Conditions: conditions(v1alpha1.ConditionAllInjected)},
		&v1alpha1.PodNetworkChaos{ObjectMeta: metav1.ObjectMeta{Namespace: "x0tta6bl4", Name: "b-0"}})
	files, err := Snapshot(t.Context(), i.client, "x0tta6bl4")
	if err != nil {
		t.Fatal(err)
	}
	if b := files["NetworkChaos-mesh-network-partition.yaml"]; !strings.Contains(string(b), "AllInjected") {
		t.Errorf("the object with its status is missing: %v", files)
	}
	if files["PodNetworkChaos-b-0.yaml"] == nil {
		t.Errorf("PodNetworkChaos is missing")
	}
	left, err := Objects(t.Context(), i.client, "x0tta6bl4")
	if err != nil || len(left) != 1 {
		t.Fatalf("left %v, error %v", left, err)
	}
}
