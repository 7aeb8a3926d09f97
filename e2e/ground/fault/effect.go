package fault

import (
	"fmt"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// Effect names what a fault does: the action of an experiment, "stress", "disk", "clock", or the
// command of meshchaos that a Job or an ephemeral container runs. A Schedule does what its experiments do.
func Effect(o Object) (string, error) {
	switch o := o.(type) {
	case *v1alpha1.Schedule:
		e, _, _, err := template(o)
		if err != nil {
			return "", err
		}
		return Effect(e)
	case *v1alpha1.NetworkChaos:
		return string(o.Spec.Action), nil
	case *v1alpha1.PodChaos:
		return string(o.Spec.Action), nil
	case *v1alpha1.StressChaos:
		return "stress", nil
	case *v1alpha1.IOChaos:
		return "disk", nil
	case *v1alpha1.TimeChaos:
		return "clock", nil
	case *batchv1.Job:
		for _, c := range o.Spec.Template.Spec.Containers {
			if len(c.Args) > 0 {
				return c.Args[0], nil
			}
		}
	case *corev1.Pod:
		for _, c := range o.Spec.EphemeralContainers {
			if len(c.Args) > 0 {
				return c.Args[0], nil
			}
		}
	}
	return "", fmt.Errorf("%s: what it does is not known", name(o))
}

// ByAddress reports whether Chaos Mesh finds pods of a fault by their addresses, as it does the
// targets of a network fault: the packets of a pod are told apart by where they go.
func ByAddress(o Object) bool {
	o, err := made(o)
	if err != nil {
		return false
	}
	n, ok := o.(*v1alpha1.NetworkChaos)
	return ok && (n.Spec.Action == v1alpha1.PartitionAction || n.Spec.Target != nil || len(n.Spec.ExternalTargets) > 0)
}
