package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/genericwebhook"
	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// failure makes the error about a field.
type failure func(field, format string, args ...any) error

// validate checks what the server would refuse in an object that its schema takes, and what
// could not be proven or judged here.
func validate(object Object, asJSON []byte, fail failure) error {
	if object.GetName() == "" {
		return fail("metadata.name", "is missing")
	}
	if err := validateMeta(object, fail); err != nil {
		return err
	}
	if err := refusePaused(object, fail); err != nil {
		return err
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

func validateMeta(object Object, fail failure) error {
	meta, ok := object.DeepCopyObject().(Object)
	if !ok {
		return fmt.Errorf("%T: the copy has another type", object)
	}
	if meta.GetNamespace() == "" {
		meta.SetNamespace(corev1.NamespaceDefault) // as kubectl does; the suite moves it anyway
	}
	var errs []error
	for _, e := range validation.ValidateObjectMetaAccessor(meta, true, validation.NameIsDNSSubdomain, field.NewPath("metadata")) {
		errs = append(errs, fail(e.Field, "%s", e.ErrorBody()))
	}
	return errors.Join(errs...)
}

// validateExperiment checks an experiment whose spec stands at a path: what Chaos Mesh's webhook
// refuses once it has written its defaults, and what cannot be proven.
func validateExperiment(e experiment, at string, fail failure) error {
	if len(experimentSelectors(e)) == 0 {
		return fail(at+".action", "is none that selects pods")
	}
	defaulted, ok := e.DeepCopyObject().(experiment)
	if !ok {
		return fmt.Errorf("%T: the copy has another type", e)
	}
	if err := defaulted.Default(context.Background(), defaulted); err != nil {
		return fail("", "cannot be defaulted: %v", err)
	}
	var errs []error
	seen := map[string]bool{} // what is embedded twice is validated twice
	for _, found := range genericwebhook.Validate(defaulted) {
		e := fail(moved(jsonPath(defaulted, found.Field), at), "%s", found.ErrorBody())
		if !seen[e.Error()] {
			seen[e.Error()], errs = true, append(errs, e)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return provable(defaulted, at, fail)
}

// moved returns a path of an experiment's field where the experiment's spec stands at another.
func moved(path, at string) string {
	if rest, ok := strings.CutPrefix(path, "spec"); ok {
		return at + rest
	}
	return path
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
	if s := j.Spec.ActiveDeadlineSeconds; s == nil || *s <= 0 {
		return fail("spec.activeDeadlineSeconds", "is missing: nothing else ends the fault")
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
		if err := provableAttack(c.Args, path+".args", fail); err != nil {
			return err
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
	return provableAttack(c.Args, at+"[0].args", fail)
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
