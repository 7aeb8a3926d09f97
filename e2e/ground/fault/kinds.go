package fault

import (
	"fmt"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// newObject returns an empty object of a kind and the API that the kind is of: an experiment
// of Chaos Mesh whose effect can be proven here, or what stands beside them.
func newObject(kind string) (o Object, api string, ok bool) {
	api = v1alpha1.SchemeGroupVersion.String()
	switch kind {
	case v1alpha1.KindNetworkChaos:
		return &v1alpha1.NetworkChaos{}, api, true
	case v1alpha1.KindPodChaos:
		return &v1alpha1.PodChaos{}, api, true
	case v1alpha1.KindStressChaos:
		return &v1alpha1.StressChaos{}, api, true
	case v1alpha1.KindIOChaos:
		return &v1alpha1.IOChaos{}, api, true
	case v1alpha1.KindTimeChaos:
		return &v1alpha1.TimeChaos{}, api, true
	case v1alpha1.KindSchedule:
		return &v1alpha1.Schedule{}, api, true
	case "Job":
		return &batchv1.Job{}, batchv1.SchemeGroupVersion.String(), true
	case "Pod":
		return &corev1.Pod{}, corev1.SchemeGroupVersion.String(), true
	}
	return nil, "", false
}

// kinds lists the kinds that newObject knows.
func kinds() []string {
	return []string{v1alpha1.KindIOChaos, "Job", v1alpha1.KindNetworkChaos, "Pod", v1alpha1.KindPodChaos, v1alpha1.KindSchedule, v1alpha1.KindStressChaos, v1alpha1.KindTimeChaos}
}

// made returns the experiment that a schedule makes, and any other fault as it is.
func made(o Object) (Object, error) {
	s, ok := o.(*v1alpha1.Schedule)
	if !ok {
		return o, nil
	}
	e, _, _, err := template(s)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// template returns the experiment that a schedule makes, and where it stands in
// the YAML. Its spec is the schedule's own: what is changed in one changes in the
// other once keep is called.
func template(s *v1alpha1.Schedule) (e experiment, path string, keep func(), err error) {
	missing := fmt.Errorf("is missing, for the type is %s", s.Spec.Type)
	switch s.Spec.Type {
	case v1alpha1.ScheduleTypeNetworkChaos:
		path = "spec.networkChaos"
		if s.Spec.NetworkChaos == nil {
			return nil, path, nil, missing
		}
		o := &v1alpha1.NetworkChaos{Spec: *s.Spec.NetworkChaos}
		return o, path, func() { *s.Spec.NetworkChaos = o.Spec }, nil
	case v1alpha1.ScheduleTypePodChaos:
		path = "spec.podChaos"
		if s.Spec.PodChaos == nil {
			return nil, path, nil, missing
		}
		o := &v1alpha1.PodChaos{Spec: *s.Spec.PodChaos}
		return o, path, func() { *s.Spec.PodChaos = o.Spec }, nil
	case v1alpha1.ScheduleTypeStressChaos:
		path = "spec.stressChaos"
		if s.Spec.StressChaos == nil {
			return nil, path, nil, missing
		}
		o := &v1alpha1.StressChaos{Spec: *s.Spec.StressChaos}
		return o, path, func() { *s.Spec.StressChaos = o.Spec }, nil
	}
	return nil, "spec.type", nil, fmt.Errorf("%q is none of NetworkChaos, PodChaos, StressChaos", s.Spec.Type)
}
