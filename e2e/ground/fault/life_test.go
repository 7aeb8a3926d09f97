package fault

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// meshPod is a pod whose container has the id.
func meshPod(name, uid, containerID string, ready corev1.ConditionStatus) *corev1.Pod {
	p := pod("x0tta6bl4", name, "app", "mesh-node")
	p.UID = types.UID(uid)
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "node", ContainerID: containerID, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}
	return &p
}

// life is a fault in a fake cluster whose objects the test moves on.
type life struct {
	*testing.T
	client.Client
	*Injection
}

func begin(t *testing.T, fixture string, objects ...client.Object) *life {
	t.Helper()
	c := fakeClient(t, objects...)
	i, err := Apply(t.Context(), c, load(t, fixture))
	if err != nil {
		t.Fatal(err)
	}
	return &life{t, c, i}
}

// update replaces an object in the cluster, its status too.
func (l *life) update(o client.Object) {
	l.Helper()
	now := o.DeepCopyObject().(client.Object)
	if err := l.Get(l.Context(), client.ObjectKeyFromObject(o), now); err != nil {
		l.Fatal(err)
	}
	o.SetResourceVersion(now.GetResourceVersion())
	whole := o.DeepCopyObject().(client.Object)
	if err := l.Update(l.Context(), o); err != nil {
		l.Fatal(err)
	}
	whole.SetResourceVersion(o.GetResourceVersion())
	if err := l.Status().Update(l.Context(), whole); err != nil && !apierrors.IsNotFound(err) {
		l.Fatal(err) // Chaos Mesh's kinds have no subresource for it
	}
}

// is checks what the waits say of the present state.
func (l *life) is(injected, recovered bool) {
	l.Helper()
	if err := l.WaitInjected(soon(l.T)); (err == nil) != injected {
		l.Errorf("injected: %v", err)
	}
	if err := l.WaitRecovered(soon(l.T)); (err == nil) != recovered {
		l.Errorf("recovered: %v", err)
	}
}

func status(phase v1alpha1.DesiredPhase, kind v1alpha1.ChaosConditionType, ids ...string) v1alpha1.ChaosStatus {
	s := v1alpha1.ChaosStatus{
		Conditions: conditions(v1alpha1.ConditionSelected, kind),
		Experiment: v1alpha1.ExperimentStatus{DesiredPhase: phase},
	}
	for _, id := range ids {
		s.Experiment.Records = append(s.Experiment.Records, &v1alpha1.Record{Id: id})
	}
	return s
}

// A kill never counts as recovered for Chaos Mesh; the next pod is what recovers.
func TestKillIsOverWithTheNextPod(t *testing.T) {
	l := begin(t, "node-crash.yaml", meshPod("a-0", "1", "x", "True"), meshPod("a-1", "2", "y", "True"))
	if l.is(false, false); len(l.Victims()) != 0 {
		t.Errorf("victims before the kill: %v", l.Victims())
	}
	o := l.object.(*v1alpha1.PodChaos)
	o.Status.ChaosStatus = status(v1alpha1.RunningPhase, v1alpha1.ConditionAllInjected, "x0tta6bl4/a-1")
	l.update(o)
	l.is(true, false) // a pod that is about to go is still ready
	if got := l.Victims(); !slices.Equal(got, []string{"a-1"}) {
		t.Errorf("victims %v", got)
	}
	l.update(meshPod("a-1", "3", "z", "False"))
	l.is(true, false)
	l.update(meshPod("a-1", "3", "z", "True"))
	l.is(true, true)
}

// What Chaos Mesh calls injected and recovered is the change of the image only.
func TestPodFailureIsInjectedWhenThePauseRuns(t *testing.T) {
	l := begin(t, "pqc-verification-failure.yaml", meshPod("a-0", "1", "x", "True"))
	o := l.object.(*v1alpha1.PodChaos)
	o.Status.ChaosStatus = status(v1alpha1.RunningPhase, v1alpha1.ConditionAllInjected, "x0tta6bl4/a-0")
	l.update(o)
	l.is(false, false)
	l.update(meshPod("a-0", "1", "pause", "False"))
	l.is(true, false)
	o.Status.ChaosStatus = status(v1alpha1.StoppedPhase, v1alpha1.ConditionAllRecovered, "x0tta6bl4/a-0")
	l.update(o)
	l.is(false, false)
	l.update(meshPod("a-0", "1", "again", "True"))
	if err := l.WaitRecovered(soon(t)); err != nil {
		t.Error(err)
	}
}

func TestVictimsOfContainerSelectors(t *testing.T) {
	l := begin(t, "resource-stress.yaml")
	o := l.object.(*v1alpha1.StressChaos)
	o.Status.ChaosStatus = status(v1alpha1.RunningPhase, v1alpha1.ConditionAllInjected, "x0tta6bl4/a-1/node", "x0tta6bl4/a-0/node", "x0tta6bl4/a-1/other")
	l.update(o)
	if err := l.WaitInjected(soon(t)); err != nil {
		t.Fatal(err)
	}
	if got := l.Victims(); !slices.Equal(got, []string{"a-0", "a-1"}) {
		t.Errorf("victims %v", got)
	}
}

func TestSchedule(t *testing.T) {
	l := begin(t, "node-crash-schedule.yaml", meshPod("a-0", "1", "x", "True"))
	if err := l.WaitInjected(soon(t)); err == nil || !strings.Contains(err.Error(), "made no experiment yet") {
		t.Errorf("before the first period: %v", err)
	}
	if at := l.Earliest(); at.IsZero() || time.Since(at) > time.Second {
		t.Errorf("it begins at %v at the earliest", at)
	}
	child := load(t, "node-crash.yaml").(*v1alpha1.PodChaos)
	child.Name, child.Labels = "mesh-node-crash-x7f2k", map[string]string{v1alpha1.LabelManagedBy: "mesh-node-crash"}
	child.Status.ChaosStatus = status(v1alpha1.RunningPhase, v1alpha1.ConditionAllInjected, "x0tta6bl4/a-0")
	if err := l.Create(t.Context(), child); err != nil {
		t.Fatal(err)
	}
	l.is(true, false)
	l.update(meshPod("a-0", "2", "y", "True"))
	l.is(true, true)
	if got := l.Victims(); !slices.Equal(got, []string{"a-0"}) {
		t.Errorf("victims %v", got)
	}
	if forced, err := l.Injection.Delete(t.Context(), time.Second); forced || err != nil {
		t.Errorf("forced %v, error %v", forced, err)
	}
	if left, err := Objects(t.Context(), l.Client, "x0tta6bl4"); err != nil || len(left) != 0 {
		t.Errorf("left %v, error %v", left, err)
	}
}

func TestJob(t *testing.T) {
	l := begin(t, "pqc-inject.yaml")
	l.is(false, false)
	p := pod("x0tta6bl4", "pqc-inject-4x9zk", batchv1.JobNameLabel, "pqc-inject")
	if err := l.Create(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	p.Status.Phase = corev1.PodRunning
	l.update(&p)
	l.is(true, false)
	if left, err := Objects(t.Context(), l.Client, "x0tta6bl4"); err != nil || len(left) != 1 || !strings.Contains(left[0], "Job pqc-inject") {
		t.Errorf("left %v, error %v", left, err)
	}
	o := l.object.(*batchv1.Job)
	o.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	l.update(o)
	l.is(true, true)
	if forced, err := l.Injection.Delete(t.Context(), time.Second); forced || err != nil {
		t.Errorf("forced %v, error %v", forced, err)
	}
	if left, err := Objects(t.Context(), l.Client, "x0tta6bl4"); err != nil || len(left) != 0 {
		t.Errorf("left %v, error %v", left, err)
	}
}

// A Job that fails is no fault, and its last words say why.
func TestFailedJobEndsTheWaitAtOnce(t *testing.T) {
	l := begin(t, "pqc-inject.yaml")
	p := pod("x0tta6bl4", "pqc-inject-4x9zk", batchv1.JobNameLabel, "pqc-inject")
	p.Status.Phase = corev1.PodFailed
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "enrolment refused"},
	}}}
	if err := l.Create(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	o := l.object.(*batchv1.Job)
	o.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Message: "BackoffLimitExceeded"}}
	l.update(o)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := l.WaitInjected(ctx)
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "enrolment refused") {
		t.Errorf("got %v", err)
	}
}

// corruptor sets the state of the ephemeral container.
func (l *life) corruptor(s corev1.ContainerState) {
	l.Helper()
	p := meshPod("mesh-node-a-0", "1", "x", "True")
	p.Spec.EphemeralContainers = load(l.T, "pqc-corrupt.yaml").(*corev1.Pod).Spec.EphemeralContainers
	p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "pqc-corrupt", State: s}}
	l.update(p)
}

func TestEphemeralContainer(t *testing.T) {
	p := meshPod("mesh-node-a-0", "1", "x", "True")
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "outside-probe", Image: "i"}}}
	l := begin(t, "pqc-corrupt.yaml", p)
	var now corev1.Pod
	if err := l.Get(t.Context(), client.ObjectKeyFromObject(p), &now); err != nil {
		t.Fatal(err)
	}
	if c := now.Spec.EphemeralContainers; len(c) != 2 || c[1].Name != "pqc-corrupt" && c[0].Name != "pqc-corrupt" {
		t.Errorf("ephemeral containers %+v", c)
	}
	l.is(false, false)
	l.corruptor(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	l.is(true, false)
	if got := l.Victims(); !slices.Equal(got, []string{"mesh-node-a-0"}) {
		t.Errorf("victims %v", got)
	}
	l.corruptor(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}})
	l.is(true, true)
	if forced, err := l.Injection.Delete(t.Context(), time.Second); forced || err != nil {
		t.Errorf("forced %v, error %v", forced, err)
	}
	if left, err := Objects(t.Context(), l.Client, "x0tta6bl4"); err != nil || len(left) != 0 {
		t.Errorf("left %v, error %v", left, err)
	}
	if _, err := Apply(t.Context(), l.Client, load(t, "pqc-corrupt.yaml")); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second one of the same name: %v", err)
	}
}

func TestEphemeralContainerThatFails(t *testing.T) {
	l := begin(t, "pqc-corrupt.yaml", meshPod("mesh-node-a-0", "1", "x", "True"))
	l.corruptor(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "needs CAP_BPF\n"}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.WaitInjected(ctx); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "code 1: needs CAP_BPF") {
		t.Errorf("got %v", err)
	}
}

// Nothing but the pod's end brings the end of a container that goes on.
func TestDeleteOfAnEphemeralContainerThatGoesOn(t *testing.T) {
	l := begin(t, "pqc-corrupt.yaml", meshPod("mesh-node-a-0", "1", "x", "True"))
	l.corruptor(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	forced, err := l.Injection.Delete(t.Context(), 100*time.Millisecond)
	if !forced || err != nil {
		t.Errorf("forced %v, error %v", forced, err)
	}
	if err := l.WaitRecovered(soon(t)); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("got %v", err)
	}
}

func TestEphemeralContainerWithoutItsPod(t *testing.T) {
	if _, err := Apply(t.Context(), fakeClient(t), load(t, "pqc-corrupt.yaml")); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("got %v", err)
	}
}
