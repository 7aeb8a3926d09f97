package fault

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	crfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/x0tta6bl4/mesh/fixtures"
)

// TestUnused: the fixture's name if the pod has not had it, and the next that it has not had.
func TestUnused(t *testing.T) {
	had := []string(nil)
	for _, want := range []string{"pqc-corrupt", "pqc-corrupt-2", "pqc-corrupt-3"} {
		o, err := Load(fixtures.FS, "pqc-corrupt.yaml")
		if err != nil {
			t.Fatal(err)
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName()}}
		for _, name := range had {
			pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers,
				corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name}})
		}
		got, err := Unused(t.Context(), crfake.NewClientBuilder().WithObjects(pod).Build(), o)
		if err != nil || got != want || o.(*corev1.Pod).Spec.EphemeralContainers[0].Name != want {
			t.Errorf("after %q: %q, %v, want %q", had, got, err, want)
		}
		had = append(had, got)
	}
	o, err := Load(fixtures.FS, "latency.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Unused(t.Context(), crfake.NewClientBuilder().Build(), o); err == nil {
		t.Error("a delay has an ephemeral container")
	}
}
