package scenario

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

func nodePod(name, uid string, change ...func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid), Labels: map[string]string{"app": mesh.NodeApp}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "node"}}},
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func killed(p *corev1.Pod) {
	p.Status.ContainerStatuses[0].State.Terminated = &corev1.ContainerStateTerminated{Reason: oomKilled, ExitCode: 137}
}

func restarted(p *corev1.Pod) {
	s := &p.Status.ContainerStatuses[0]
	s.RestartCount = 1
	s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 2}
}

func evicted(p *corev1.Pod) {
	p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "low on memory"
}

// ended is how a pod looks whose container ended as it was told to, as one that is scaled away.
func ended(p *corev1.Pod) {
	p.Status.ContainerStatuses[0].State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed"}
}

func TestCasualties(t *testing.T) {
	deployed := []corev1.Pod{nodePod("a", "1"), nodePod("b", "2")}
	with := func(pods ...corev1.Pod) []corev1.Pod { return append([]corev1.Pod{nodePod("a", "1")}, pods...) }
	for name, c := range map[string]struct {
		all  []corev1.Pod
		want string // empty: none
	}{
		"all as deployed":                    {with(nodePod("b", "2")), ""},
		"one more, scaled away again":        {with(nodePod("b", "2"), nodePod("c", "3", ended)), ""},
		"ended for want of memory":           {with(nodePod("b", "2", killed)), "OOMKilled, code 137"},
		"one more, ended for want of memory": {with(nodePod("b", "2"), nodePod("c", "3", killed)), "c/node restarted 0 times: OOMKilled"},
		"restarted":                          {with(nodePod("b", "2", restarted)), "b/node restarted 1 times: Error, code 2"},
		"restarted, with no reason":          {with(nodePod("b", "2", func(p *corev1.Pod) { p.Status.ContainerStatuses[0].RestartCount = 3 })), "restarted 3 times"},
		"evicted":                            {with(nodePod("b", "2", evicted)), "b: Evicted: low on memory"},
		"replaced, and all is well":          {with(nodePod("b", "2", ended), nodePod("b", "9")), "b was replaced: pod 9"},
	} {
		got := casualties(deployed, c.all)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// A pod that is gone is remembered as it was last seen; what is no node is not.
func TestRosterRemembers(t *testing.T) {
	r := &Run{pods: []corev1.Pod{nodePod("a", "1")}, roster: newRoster(nil)}
	client := nodePod("client", "7", restarted)
	client.Labels["app"] = "client"
	r.roster.see(&client)
	if found, err := r.Casualties(t.Context()); verdict.Of(err) != report.Invalid {
		t.Errorf("a watch that has seen no node: %v, %v", found, err)
	}
	a, b := nodePod("a", "1"), nodePod("a", "1", killed)
	r.roster.see(&a)
	if found, err := r.Casualties(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("one that lives: %v, %v", found, err)
	}
	r.roster.see(cache.DeletedFinalStateUnknown{Obj: &b})
	next := nodePod("a", "2")
	r.roster.see(&next)
	if found, err := r.Casualties(t.Context()); err != nil || len(found) != 2 {
		t.Errorf("one that was killed, and its successor: %v, %v", found, err)
	}
}
