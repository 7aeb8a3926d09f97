package fault

import (
	"bytes"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/fixtures"
)

func load(t *testing.T, name string) Object {
	t.Helper()
	o, err := Load(fixtures.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func tree(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// The fixtures must stay the design document's objects, but for what its API does
// not have.
func TestFixturesAreTheDesignDocuments(t *testing.T) {
	b, err := os.ReadFile("testdata/design.yaml")
	if err != nil {
		t.Fatal(err)
	}
	design := map[string]map[string]any{}
	for doc := range bytes.SplitSeq(b, []byte("---\n")) {
		o := tree(t, doc)
		design[o["metadata"].(map[string]any)["name"].(string)] = o
	}
	crash := design["mesh-node-crash"]["spec"].(map[string]any)
	cron := crash["scheduler"].(map[string]any)["cron"]
	delete(crash, "scheduler") // the one correction
	for file, name := range map[string]string{
		"network-partition.yaml":        "mesh-network-partition",
		"pqc-verification-failure.yaml": "pqc-verification-failure",
		"node-crash.yaml":               "mesh-node-crash",
		"latency.yaml":                  "mesh-latency-injection",
		"resource-stress.yaml":          "mesh-resource-stress",
	} {
		if got := tree(t, []byte(read(t, file))); !reflect.DeepEqual(got, design[name]) {
			t.Errorf("%s differs from the design document:\n%v\n%v", file, got, design[name])
		}
		delete(design, name)
	}
	if len(design) != 0 {
		t.Errorf("no fixture for %v", slices.Sorted(maps.Keys(design)))
	}
	schedule := tree(t, []byte(read(t, "node-crash-schedule.yaml")))["spec"].(map[string]any)
	if schedule["schedule"] != cron || !reflect.DeepEqual(schedule["podChaos"], any(crash)) {
		t.Errorf("the schedule differs from the design document: %v", schedule)
	}
	if schedule["concurrencyPolicy"] != "Forbid" || schedule["type"] != "PodChaos" {
		t.Errorf("the schedule is %v", schedule)
	}
}

// A part of another fixture: what was not meant to differ must not.
func TestPartialFixturesDifferInTheirSelectorsOnly(t *testing.T) {
	for file, whole := range map[string]string{"network-partition-link.yaml": "network-partition.yaml", "latency-one-node.yaml": "latency.yaml"} {
		got, want := tree(t, []byte(read(t, file))), tree(t, []byte(read(t, whole)))
		for _, m := range []map[string]any{got, want} {
			delete(m, "metadata")
			spec := m["spec"].(map[string]any)
			delete(spec["selector"].(map[string]any), "labelSelectors")
			if target, ok := spec["target"].(map[string]any); ok {
				delete(target["selector"].(map[string]any), "labelSelectors")
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%v\n%v", file, got, want)
		}
	}
}

// nodeTemplate is the node's pod as it is deployed.
func nodeTemplate(t *testing.T) corev1.PodSpec {
	t.Helper()
	b, err := os.ReadFile("../../../manifests/mesh/40-nodes-a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Spec struct{ Template corev1.PodTemplateSpec }
	}
	if err := yaml.Unmarshal(b, &set); err != nil {
		t.Fatal(err)
	}
	return set.Spec.Template.Spec
}

func TestCorruptorHasThePrivilegesOfItsNode(t *testing.T) {
	c := load(t, "pqc-corrupt.yaml").(*corev1.Pod).Spec.EphemeralContainers[0]
	node := nodeTemplate(t).Containers[0]
	if !reflect.DeepEqual(c.SecurityContext, node.SecurityContext) || c.ImagePullPolicy != node.ImagePullPolicy {
		t.Errorf("corruptor %+v, node %+v", c.SecurityContext, node.SecurityContext)
	}
}

// The forger and the replayer need a raw socket, and nothing else of the node's.
func TestForgerAndReplayerHaveARawSocketOnly(t *testing.T) {
	j := load(t, "pqc-forge.yaml").(*batchv1.Job).Spec.Template.Spec
	if j.AutomountServiceAccountToken == nil || *j.AutomountServiceAccountToken || len(j.Volumes) > 0 || j.ServiceAccountName != "" {
		t.Errorf("the forger could be a member: account %q, volumes %v", j.ServiceAccountName, j.Volumes)
	}
	r := load(t, "pqc-replay.yaml").(*corev1.Pod).Spec.EphemeralContainers[0]
	for name, s := range map[string]*corev1.SecurityContext{"forger": j.Containers[0].SecurityContext, "replayer": r.SecurityContext} {
		if *s.AllowPrivilegeEscalation || *s.Privileged || !*s.ReadOnlyRootFilesystem ||
			!slices.Equal(s.Capabilities.Add, []corev1.Capability{"NET_RAW"}) || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestInjectorHasNoPrivilege(t *testing.T) {
	j := load(t, "pqc-inject.yaml").(*batchv1.Job)
	pod, node := j.Spec.Template.Spec, nodeTemplate(t)
	c := pod.Containers[0]
	s := c.SecurityContext
	if pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot ||
		pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
		*s.AllowPrivilegeEscalation || len(s.Capabilities.Add) > 0 || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("not restricted: %+v, %+v", pod.SecurityContext, s)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken || pod.ServiceAccountName != node.ServiceAccountName {
		t.Errorf("account %s, token of the API server %v", pod.ServiceAccountName, pod.AutomountServiceAccountToken)
	}
	// It enrols as a node does.
	for _, name := range []string{"enrolment", "trust"} {
		same := func(v corev1.Volume) bool { return v.Name == name }
		i, n := slices.IndexFunc(pod.Volumes, same), slices.IndexFunc(node.Volumes, same)
		if i < 0 || n < 0 || !reflect.DeepEqual(pod.Volumes[i], node.Volumes[n]) {
			t.Errorf("volume %s is not the node's", name)
		}
	}
	for _, arg := range node.Containers[0].Args {
		for _, flag := range []string{"--peers=", "--ca=", "--token-file=", "--trust-dir="} {
			if strings.HasPrefix(arg, flag) && !slices.Contains(c.Args, arg) {
				t.Errorf("the node has %s, the injector %v", arg, c.Args)
			}
		}
	}
	if j.Spec.BackoffLimit == nil || *j.Spec.BackoffLimit != 0 || j.Spec.ActiveDeadlineSeconds == nil {
		t.Error("it may attack twice, or for ever")
	}
}
