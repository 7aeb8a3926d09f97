package fault

import (
	"fmt"
	"slices"
	"strings"

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

// experimentSelectors returns an experiment's selectors, the source first.
func experimentSelectors(e experiment) []selector {
	var out []selector
	for key, s := range e.GetSelectorSpecs() {
		path := "spec"
		if key != "." {
			path = "spec" + strings.ToLower(key) // .Target
		}
		switch s := s.(type) {
		case *v1alpha1.PodSelector:
			if s != nil {
				out = append(out, selector{path, s})
			}
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
	switch o := o.(type) {
	case *v1alpha1.Schedule:
		if e, _, keep, err := template(o); err == nil { // Decode refuses one without
			moveSelectors(e, namespace)
			keep()
		}
	case experiment:
		moveSelectors(o, namespace)
	}
}

func moveSelectors(e experiment, namespace string) {
	for _, s := range experimentSelectors(e) {
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

// Sides tells which of the pods the object's source and target selectors
// match. It reads the fixture, not what Chaos Mesh made of it, so it only
// knows selectors by namespace, name and label; anything else is an error. A
// side that matches no pod is ErrSelectsNothing.
//
// A source without a target may have another mode than all: then these are the
// pods among which Chaos Mesh chooses, and Injection.Victims tells which it chose.
// The source of an ephemeral container is its pod, and a Job has none.
func Sides(o Object, pods []corev1.Pod) (source, target []string, err error) {
	switch o := o.(type) {
	case *v1alpha1.Schedule:
		e, _, _, err := template(o)
		if err != nil {
			return nil, nil, err
		}
		return Sides(e, pods)
	case *corev1.Pod:
		if !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Name == o.Name && p.Namespace == o.Namespace }) {
			return nil, nil, fmt.Errorf("pod %s/%s: %w", o.Namespace, o.Name, ErrSelectsNothing)
		}
		return []string{o.Name}, nil, nil
	case experiment:
		found := experimentSelectors(o)
		for i, s := range found {
			if len(found) > 1 && s.pods.Mode != v1alpha1.AllMode {
				return nil, nil, fmt.Errorf("%s.mode: what lies between two sides can be foreseen in mode all only", s.path)
			}
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
	}
	return source, target, nil
}

func matches(s selector, pods []corev1.Pod) ([]string, error) {
	spec := s.pods.Selector
	if len(spec.FieldSelectors)+len(spec.AnnotationSelectors)+len(spec.NodeSelectors)+len(spec.Nodes)+len(spec.PodPhaseSelectors) > 0 {
		return nil, fmt.Errorf("%s: only selectors by name and label can be foreseen", s.path)
	}
	want, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{
		MatchLabels: spec.LabelSelectors, MatchExpressions: spec.ExpressionSelectors,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	selected := func(p corev1.Pod) bool {
		if len(spec.Pods) > 0 { // Chaos Mesh then looks at nothing else, neither labels nor namespaces
			return slices.Contains(spec.Pods[p.Namespace], p.Name)
		}
		return (len(spec.Namespaces) == 0 || slices.Contains(spec.Namespaces, p.Namespace)) && want.Matches(labels.Set(p.Labels))
	}
	var names []string
	for _, p := range pods {
		if selected(p) {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 && len(spec.Pods) > 0 {
		return nil, fmt.Errorf("%s.selector.pods (%v): %w", s.path, spec.Pods, ErrSelectsNothing)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s.selector (labels %s, namespaces %v): %w", s.path, want, spec.Namespaces, ErrSelectsNothing)
	}
	slices.Sort(names)
	return names, nil
}
