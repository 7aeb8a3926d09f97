package fault

import "fmt"

// Aim makes an experiment's source the one pod of that name in its namespace,
// whatever pod the fixture names. Retarget must come first.
func Aim(o Object, pod string) error {
	e, ok := o.(experiment)
	if !ok {
		return fmt.Errorf("%s: has no selector to aim at pod %s", name(o), pod)
	}
	s := &experimentSelectors(e)[0].pods.Selector
	s.Pods = map[string][]string{o.GetNamespace(): {pod}}
	s.LabelSelectors, s.ExpressionSelectors = nil, nil
	return nil
}
