package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// failure makes the error about a field.
type failure func(field, format string, args ...any) error

// validate checks what the server would refuse in a well-formed object: Chaos
// Mesh's webhooks and enumerations, and of Kubernetes' own objects what a fixture can
// get wrong.
func validate(object Object, asJSON []byte, fail failure) error {
	if object.GetName() == "" {
		return fail("metadata.name", "is missing")
	}
	switch o := object.(type) {
	case *v1alpha1.Schedule:
		return validateSchedule(o, fail)
	case *batchv1.Job:
		return validateJob(o, fail)
	case *corev1.Pod:
		return validateContainer(o, asJSON, fail)
	case experiment:
		return validateExperiment(o, "spec", fail)
	}
	return fmt.Errorf("%T cannot be validated", object)
}

// validateExperiment checks an experiment whose spec stands at a path.
func validateExperiment(e experiment, at string, fail failure) error {
	moved := func(path string) string {
		if rest, ok := strings.CutPrefix(path, "spec"); ok {
			return at + rest
		}
		return path
	}
	found := experimentSelectors(e)
	if len(found) == 0 {
		return fail(at+".action", "is none that selects pods")
	}
	for _, s := range found {
		switch s.pods.Mode {
		case v1alpha1.OneMode, v1alpha1.AllMode, v1alpha1.FixedMode, v1alpha1.FixedPercentMode, v1alpha1.RandomMaxPercentMode:
		default:
			return fail(moved(s.path)+".mode", "%q is none of one, all, fixed, fixed-percent, random-max-percent", s.pods.Mode)
		}
	}
	defaulted, ok := e.DeepCopyObject().(experiment)
	if !ok {
		return fmt.Errorf("%T: the copy has another type", e)
	}
	if err := defaulted.Default(context.Background(), defaulted); err != nil {
		return fail("", "cannot be defaulted: %v", err)
	}
	if _, err := defaulted.Validate(); err != nil {
		field, reason, ok := strings.Cut(err.Error(), ": ")
		if !ok {
			field, reason = "", err.Error()
		}
		return fail(moved(lowerPath(field)), "%s", reason)
	}
	return nil
}

func validateSchedule(s *v1alpha1.Schedule, fail failure) error {
	if _, err := v1alpha1.StandardCronParser.Parse(s.Spec.Schedule); err != nil {
		return fail("spec.schedule", "%v", err)
	}
	if p := s.Spec.ConcurrencyPolicy; p != "" && p != v1alpha1.ForbidConcurrent && p != v1alpha1.AllowConcurrent {
		return fail("spec.concurrencyPolicy", "%q is none of Forbid, Allow", p)
	}
	if s.Spec.HistoryLimit < 0 {
		return fail("spec.historyLimit", "is %d, must be at least 1", s.Spec.HistoryLimit)
	}
	e, path, _, err := template(s)
	if err != nil {
		return fail(path, "%v", err)
	}
	return validateExperiment(e, path, fail)
}

func validateJob(j *batchv1.Job, fail failure) error {
	const at = "spec.template.spec"
	pod := &j.Spec.Template.Spec
	if p := pod.RestartPolicy; p != corev1.RestartPolicyNever && p != corev1.RestartPolicyOnFailure {
		return fail(at+".restartPolicy", "%q is none of Never, OnFailure", p)
	}
	if len(pod.Containers) == 0 {
		return fail(at+".containers", "is missing")
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
	}
	for i, c := range pod.Containers {
		path := fmt.Sprintf("%s.containers[%d]", at, i)
		if err := named(path, c.Name, c.Image, fail); err != nil {
			return err
		}
		for n, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				return fail(fmt.Sprintf("%s.volumeMounts[%d].name", path, n), "%q is no volume of the pod", m.Name)
			}
		}
	}
	return nil
}

// validateContainer checks a Pod that is to hold one ephemeral container and
// nothing else.
func validateContainer(p *corev1.Pod, asJSON []byte, fail failure) error {
	var raw struct {
		Spec map[string]json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal(asJSON, &raw); err != nil {
		return fail("spec", "%v", err)
	}
	const at = "spec.ephemeralContainers"
	for _, key := range slices.Sorted(maps.Keys(raw.Spec)) {
		if "spec."+key != at {
			return fail("spec."+key, "cannot be changed: only an ephemeral container is added to a pod")
		}
	}
	if n := len(p.Spec.EphemeralContainers); n != 1 {
		return fail(at, "holds %d containers, must hold one", n)
	}
	c := &p.Spec.EphemeralContainers[0]
	if err := named(at+"[0]", c.Name, c.Image, fail); err != nil {
		return err
	}
	for field, set := range map[string]bool{
		"ports": len(c.Ports) > 0, "livenessProbe": c.LivenessProbe != nil, "readinessProbe": c.ReadinessProbe != nil,
		"startupProbe": c.StartupProbe != nil, "lifecycle": c.Lifecycle != nil, "restartPolicy": c.RestartPolicy != nil,
		"resources": len(c.Resources.Limits)+len(c.Resources.Requests)+len(c.Resources.Claims) > 0,
	} {
		if set {
			return fail(at+"[0]."+field, "an ephemeral container cannot have it")
		}
	}
	if _, err := durationFlag(c); err != nil {
		return fail(at+"[0].args", "%v", err)
	}
	return nil
}

func named(path, name, image string, fail failure) error {
	if name == "" {
		return fail(path+".name", "is missing")
	}
	if image == "" {
		return fail(path+".image", "is missing")
	}
	return nil
}

// lowerPath turns a path of Go field names, as the webhooks print them, into
// one of JSON names.
func lowerPath(p string) string {
	parts := strings.Split(p, ".")
	for i, s := range parts {
		if s != "" {
			parts[i] = strings.ToLower(s[:1]) + s[1:]
		}
	}
	return strings.Join(parts, ".")
}
