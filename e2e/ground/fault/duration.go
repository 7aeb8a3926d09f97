package fault

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// durationArg is the argument of an ephemeral container that says how long its
// fault lasts.
const durationArg = "--duration="

// durationFlag returns where a container's arguments say how long its fault lasts.
func durationFlag(c *corev1.EphemeralContainer) (*string, error) {
	for i := range c.Args {
		if v, ok := strings.CutPrefix(c.Args[i], durationArg); ok {
			if d, err := time.ParseDuration(v); err != nil || d <= 0 {
				return nil, fmt.Errorf("%s%s is no time that a fault can last", durationArg, v)
			}
			return &c.Args[i], nil
		}
	}
	return nil, errors.New(durationArg + "… is missing: nothing else ends the fault")
}

// experimentDuration returns where an experiment keeps its duration.
func experimentDuration(e experiment) (**string, error) {
	switch o := e.(type) {
	case *v1alpha1.NetworkChaos:
		return &o.Spec.Duration, nil
	case *v1alpha1.PodChaos:
		return &o.Spec.Duration, nil
	case *v1alpha1.StressChaos:
		return &o.Spec.Duration, nil
	case *v1alpha1.IOChaos:
		return &o.Spec.Duration, nil
	case *v1alpha1.TimeChaos:
		return &o.Spec.Duration, nil
	}
	return nil, fmt.Errorf("%T: the duration of this kind cannot be changed", e)
}

// Duration returns how long the fault lasts; 0 means until it is deleted. Of a
// Schedule it is that of one experiment, of a Job the longest that it may take.
func Duration(o Object) (time.Duration, error) {
	switch o := o.(type) {
	case *v1alpha1.Schedule:
		e, _, _, err := template(o)
		if err != nil {
			return 0, err
		}
		return Duration(e)
	case *batchv1.Job:
		if s := o.Spec.ActiveDeadlineSeconds; s != nil {
			return time.Duration(*s) * time.Second, nil
		}
		return 0, nil
	case *corev1.Pod:
		arg, err := durationFlag(&o.Spec.EphemeralContainers[0])
		if err != nil {
			return 0, err
		}
		return time.ParseDuration(strings.TrimPrefix(*arg, durationArg))
	case experiment:
		p, err := experimentDuration(o)
		if err != nil || *p == nil {
			return 0, err
		}
		return time.ParseDuration(**p)
	}
	return 0, fmt.Errorf("%T has no duration", o)
}

// Shorten makes the fault last at most d, but never less than least. A fault
// that is shorter already stays as it is, and so does a Job, which ends when its
// work is done.
func Shorten(o Object, d, least time.Duration) error {
	if d < least {
		return fmt.Errorf("a fault of %v is too short: alerts need %v to fire", d, least)
	}
	now, err := Duration(o)
	if err != nil || now > 0 && now <= d {
		return err
	}
	switch o := o.(type) {
	case *v1alpha1.Schedule:
		e, _, keep, err := template(o)
		if err != nil {
			return err
		}
		err = Shorten(e, d, least)
		keep()
		return err
	case *corev1.Pod:
		arg, err := durationFlag(&o.Spec.EphemeralContainers[0])
		if err != nil {
			return err
		}
		*arg = durationArg + d.String()
	case experiment:
		p, err := experimentDuration(o)
		if err != nil {
			return err
		}
		s := d.String()
		*p = &s
	}
	return nil
}

// Ends tells whether a fault ends by itself. One that does not has no duration, and whoever
// applied it has to take it back.
func Ends(o Object) bool {
	o, err := made(o)
	if err != nil {
		return false
	}
	if e, ok := o.(experiment); ok && e.IsOneShot() {
		return true
	}
	d, err := Duration(o)
	return err == nil && d > 0
}
