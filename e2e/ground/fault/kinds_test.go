package fault

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

func TestDecodeOtherKindsNamesLineAndField(t *testing.T) {
	for name, c := range map[string]struct {
		fixture, old, new, field, reason string
	}{
		"unknown field of a job":       {"pqc-inject.yaml", "backoffLimit: 0", "retries: 0", "spec.retries", "unknown field"},
		"wrong type in a job":          {"pqc-inject.yaml", "activeDeadlineSeconds: 120", "activeDeadlineSeconds: soon", "spec.activeDeadlineSeconds", "must be"},
		"restart policy":               {"pqc-inject.yaml", "restartPolicy: Never", "restartPolicy: Always", "spec.template.spec.restartPolicy", "Always"},
		"no image":                     {"pqc-inject.yaml", "image: x0tta6bl4/meshchaos:dev", `image: ""`, "spec.template.spec.containers[0].image", "missing"},
		"no such volume":               {"pqc-inject.yaml", "- name: enrolment\n          projected", "- name: token\n          projected", "spec.template.spec.containers[0].volumeMounts[0].name", "no volume"},
		"unknown field of a container": {"pqc-corrupt.yaml", "imagePullPolicy: IfNotPresent", "pull: Never", "spec.ephemeralContainers[0].pull", "unknown field"},
		"another field of the pod":     {"pqc-corrupt.yaml", "spec:\n", "spec:\n  hostNetwork: true\n", "spec.hostNetwork", "only an ephemeral container"},
		"a container that may not be":  {"pqc-corrupt.yaml", "imagePullPolicy:", "resources: {limits: {cpu: 1}}\n      imagePullPolicy:", "spec.ephemeralContainers[0].resources", "cannot have"},
		"no end":                       {"pqc-corrupt.yaml", "--duration=45s", "--rate=1", "spec.ephemeralContainers[0].args", "missing"},
		"an end that is none":          {"pqc-corrupt.yaml", "--duration=45s", "--duration=-1s", "spec.ephemeralContainers[0].args", "no time"},
		"schedule":                     {"node-crash-schedule.yaml", "  schedule: \"@every 5m\"", "  schedule: \"@every now\"", "spec.schedule", "every"},
		"policy":                       {"node-crash-schedule.yaml", "concurrencyPolicy: Forbid", "concurrencyPolicy: Replace", "spec.concurrencyPolicy", "Replace"},
		"type without its experiment":  {"node-crash-schedule.yaml", "type: PodChaos", "type: StressChaos", "spec.stressChaos", "missing"},
		"type":                         {"node-crash-schedule.yaml", "type: PodChaos", "type: Mess", "spec.type", "Mess"},
		"mode within a schedule":       {"node-crash-schedule.yaml", "mode: one", "mode: some", "spec.podChaos.mode", "some"},
		"duration within a schedule":   {"node-crash-schedule.yaml", `duration: "1m"`, `duration: "long"`, "spec.podChaos.duration", "long"},
		"action":                       {"node-crash.yaml", "pod-kill\n", "pod-kiss\n", "spec.action", "pod-kiss"},
		"the document's own scheduler": {"node-crash.yaml", `duration: "1m"`, "scheduler: {cron: \"@every 5m\"}", "spec.scheduler", "unknown field"},
		"another API":                  {"pqc-inject.yaml", "batch/v1", "batch/v1beta1", "apiVersion", "must be batch/v1"},
		"no name":                      {"pqc-inject.yaml", "name: pqc-inject\n  namespace", "namespace", "metadata.name", "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			good := read(t, c.fixture)
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatalf("%q is not in the fixture", c.old)
			}
			_, err := Decode("bad.yaml", []byte(bad))
			var f *FixtureError
			if !errors.As(err, &f) || f.Field != c.field || !strings.Contains(f.Reason, c.reason) || f.Line == 0 {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestRetargetOtherKinds(t *testing.T) {
	s := load(t, "node-crash-schedule.yaml").(*v1alpha1.Schedule)
	Retarget(s, "s1")
	if got := s.Spec.PodChaos.Selector.Namespaces; s.Namespace != "s1" || len(got) != 1 || got[0] != "s1" {
		t.Errorf("schedule in %s selects in %v", s.Namespace, got)
	}
	for _, f := range []string{"pqc-inject.yaml", "pqc-forge.yaml", "pqc-corrupt.yaml", "pqc-replay.yaml"} {
		if o := load(t, f); o.GetNamespace() != "x0tta6bl4" {
			t.Errorf("%s in %s", f, o.GetNamespace())
		} else if Retarget(o, "s1"); o.GetNamespace() != "s1" {
			t.Errorf("%s stays in %s", f, o.GetNamespace())
		}
	}
}

func TestShortenOtherKinds(t *testing.T) {
	for file, want := range map[string]time.Duration{
		"node-crash-schedule.yaml": 20 * time.Second,
		"pqc-corrupt.yaml":         20 * time.Second,
		"pqc-inject.yaml":          120 * time.Second, // its work says when it ends
		"resource-stress.yaml":     20 * time.Second,
		"node-crash.yaml":          20 * time.Second,
	} {
		o := load(t, file)
		if err := Shorten(o, 20*time.Second, 15*time.Second); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if got, err := Duration(o); err != nil || got != want {
			t.Errorf("%s lasts %v, want %v: %v", file, got, want, err)
		}
	}
	pod := load(t, "pqc-corrupt.yaml").(*corev1.Pod)
	before := len(pod.Spec.EphemeralContainers[0].Args)
	if err := Shorten(pod, 20*time.Second, 15*time.Second); err != nil {
		t.Fatal(err)
	}
	if args := pod.Spec.EphemeralContainers[0].Args; len(args) != before || args[len(args)-1] != "--duration=20s" {
		t.Errorf("arguments %q", args)
	}
}

func TestSidesOfOtherKinds(t *testing.T) {
	nodes := []corev1.Pod{
		pod("s1", "mesh-node-a-0", "app", "mesh-node", "component", "pqc-verifier", "statefulset.kubernetes.io/pod-name", "mesh-node-a-0"),
		pod("s1", "mesh-node-a-1", "app", "mesh-node", "component", "pqc-verifier", "statefulset.kubernetes.io/pod-name", "mesh-node-a-1"),
		pod("s1", "mesh-node-a-2", "app", "mesh-node", "component", "pqc-verifier", "statefulset.kubernetes.io/pod-name", "mesh-node-a-2"),
	}
	const all = "mesh-node-a-0 mesh-node-a-1 mesh-node-a-2"
	for file, want := range map[string][2]string{
		"network-partition-link.yaml":   {"mesh-node-a-0", "mesh-node-a-1"},
		"latency.yaml":                  {all, ""},
		"latency-one-node.yaml":         {"mesh-node-a-2", ""},
		"pqc-verification-failure.yaml": {all, ""}, // candidates, as below
		"node-crash.yaml":               {all, ""},
		"node-crash-schedule.yaml":      {all, ""},
		"resource-stress.yaml":          {all, ""},
		"pqc-corrupt.yaml":              {"mesh-node-a-0", ""},
		"pqc-replay.yaml":               {"mesh-node-a-0", ""},
		"pqc-forge.yaml":                {"", ""},
		"pqc-inject.yaml":               {"", ""},
	} {
		o := load(t, file)
		Retarget(o, "s1")
		source, target, err := Sides(o, append(nodes, pod("s2", "mesh-node-a-0", "app", "mesh-node")))
		if err != nil || strings.Join(source, " ") != want[0] || strings.Join(target, " ") != want[1] {
			t.Errorf("%s: source %v, target %v, error %v", file, source, target, err)
		}
		if _, ok := o.(*batchv1.Job); ok {
			continue
		}
		if _, _, err := Sides(o, nil); !errors.Is(err, ErrSelectsNothing) {
			t.Errorf("%s without pods: got %v", file, err)
		}
	}
}

func TestPeriod(t *testing.T) {
	for fixture, want := range map[string]time.Duration{"node-crash-schedule.yaml": 5 * time.Minute, "node-crash.yaml": 0} {
		if got, err := Period(load(t, fixture)); got != want || err != nil {
			t.Errorf("%s: %v, %v", fixture, got, err)
		}
	}
	s := load(t, "node-crash-schedule.yaml").(*v1alpha1.Schedule)
	s.Spec.Schedule = "*/10 * * * *"
	if got, err := Period(s); got != 10*time.Minute || err != nil {
		t.Errorf("every ten minutes: %v, %v", got, err)
	}
	s.Spec.Schedule = "now and then"
	if _, err := Period(s); err == nil || !strings.Contains(err.Error(), "now and then") {
		t.Errorf("no schedule: %v", err)
	}
}
