package probe

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestProbersOfAReplacedPod: probers that know the pods' addresses serve again; where one of the
// pods was replaced, others with a port of their own take their place.
func TestProbersOfAReplacedPod(t *testing.T) {
	pods := []corev1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Name: "a-0"}, Status: corev1.PodStatus{PodIP: "10.0.0.1"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "b-0"}, Status: corev1.PodStatus{PodIP: "10.0.0.2"}},
	}
	put := func(round int) {
		for i := range pods {
			pods[i].Spec.EphemeralContainers = append(pods[i].Spec.EphemeralContainers, ephemeral("", pods[i], pods, round))
		}
	}
	for step, want := range []string{"", "-port 26972", "-port 26973"} {
		round := roundOf(pods)
		if round != step {
			t.Fatalf("replaced %d times: round %d", step, round)
		}
		put(round)
		c := pods[0].Spec.EphemeralContainers[step]
		if round := roundOf(pods); round != step || !strings.HasSuffix(strings.Join(c.Args, " "), want) {
			t.Errorf("replaced %d times: round %d, %q", step, round, c.Args)
		}
		// b-0 dies; its successor has another address and no prober.
		pods[1].Spec.EphemeralContainers, pods[1].Status.PodIP = nil, pods[1].Status.PodIP+"0"
	}
	var names []string
	for _, c := range pods[0].Spec.EphemeralContainers {
		names = append(names, c.Name)
	}
	if want := []string{"outside-probe", "outside-probe-2", "outside-probe-3"}; !slices.Equal(names, want) {
		t.Errorf("containers %q, want %q", names, want)
	}
}
