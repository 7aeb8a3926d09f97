package fault

import (
	"fmt"
	"slices"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// selector is one selector of an object and its path in the YAML.
type selector struct {
	path string
	pods *v1alpha1.PodSelector
}

// selectors returns the object's selectors, the source first.
func selectors(o Object) []selector {
	var out []selector
	for key, s := range o.GetSelectorSpecs() {
		path := "spec"
		if key != "." {
			path = "spec" + lowerPath(key)
		}
		switch s := s.(type) {
		case *v1alpha1.PodSelector:
			out = append(out, selector{path, s})
		case *v1alpha1.ContainerSelector:
			out = append(out, selector{path, &s.PodSelector})
		}
	}
	slices.SortFunc(out, func(a, b selector) int { return len(a.path) - len(b.path) })
	return out
}

// Retarget moves the object and all its selectors into a namespace, so that
// the fixture can be written for the documented namespace and still only ever
// reach the pods of one scenario.
func Retarget(o Object, namespace string) {
	o.SetNamespace(namespace)
	for _, s := range selectors(o) {
		s.pods.Selector.Namespaces = []string{namespace}
		if len(s.pods.Selector.Pods) > 0 {
			var names []string
			for _, pods := range s.pods.Selector.Pods {
				names = append(names, pods...)
			}
			slices.Sort(names)
			s.pods.Selector.Pods = map[string][]string{namespace: names}
		}
	}
}

// duration returns where the object keeps its duration.
func duration(o Object) (**string, error) {
	switch o := o.(type) {
	case *v1alpha1.NetworkChaos:
		return &o.Spec.Duration, nil
	case *v1alpha1.PodChaos:
		return &o.Spec.Duration, nil
	case *v1alpha1.StressChaos:
		return &o.Spec.Duration, nil
	}
	return nil, fmt.Errorf("%T: the duration of this kind cannot be changed", o)
}

// Duration returns how long the fault lasts; 0 means until it is deleted.
func Duration(o Object) (time.Duration, error) {
	p, err := duration(o)
	if err != nil || *p == nil {
		return 0, err
	}
	return time.ParseDuration(**p)
}

// Shorten makes the fault last at most d, but never less than least. A fault
// that is shorter already stays as it is.
func Shorten(o Object, d, least time.Duration) error {
	if d < least {
		return fmt.Errorf("a fault of %v is too short: alerts need %v to fire", d, least)
	}
	p, err := duration(o)
	if err != nil {
		return err
	}
	now, err := Duration(o)
	if err != nil {
		return err
	}
	if now == 0 || now > d {
		s := d.String()
		*p = &s
	}
	return nil
}

// Sides tells which of the pods the object's source and target selectors
// match. It reads the fixture, not what Chaos Mesh made of it, so it only
// knows selectors by namespace, name and label in mode all; anything else is
// an error. A side that matches no pod is ErrSelectsNothing.
func Sides(o Object, pods []corev1.Pod) (source, target []string, err error) {
	for i, s := range selectors(o) {
		names, err := matches(s, pods)
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			source = names
		} else {
			target = append(target, names...)
		}
	}
	return source, target, nil
}

func matches(s selector, pods []corev1.Pod) ([]string, error) {
	spec := s.pods.Selector
	if s.pods.Mode != v1alpha1.AllMode || len(spec.FieldSelectors)+len(spec.AnnotationSelectors)+len(spec.NodeSelectors)+len(spec.Nodes)+len(spec.PodPhaseSelectors) > 0 {
		return nil, fmt.Errorf("%s: only selectors by name and label in mode all can be foreseen", s.path)
	}
	want, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{
		MatchLabels: spec.LabelSelectors, MatchExpressions: spec.ExpressionSelectors,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	var names []string
	for _, p := range pods {
		if len(spec.Namespaces) > 0 && !slices.Contains(spec.Namespaces, p.Namespace) {
			continue
		}
		if len(spec.Pods) > 0 && !slices.Contains(spec.Pods[p.Namespace], p.Name) {
			continue
		}
		if want.Matches(labels.Set(p.Labels)) {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s.selector (labels %s, namespaces %v): %w", s.path, want, spec.Namespaces, ErrSelectsNothing)
	}
	slices.Sort(names)
	return names, nil
}
