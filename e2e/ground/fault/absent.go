package fault

import (
	"context"
	"fmt"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
)

// absent is the life of a fault that is nowhere.
type absent struct {
	source, target []string
	over           time.Time
}

// Pretend returns the injection of a fault that nobody applies, for who has to see what is
// concluded without one. It touches no cluster. Its victims are pods that the fault would be
// in, the first where Chaos Mesh would choose among several, and it is over when it has lasted
// for so long.
func Pretend(o Object, pods []corev1.Pod, lasts time.Duration) (*Injection, error) {
	source, target, err := Sides(o, pods)
	if err != nil {
		return nil, err
	}
	if len(source) > 1 && chooses(o) {
		source = source[:1]
	}
	return &Injection{object: o, kind: &absent{source, target, time.Now().Add(lasts)}}, nil
}

// chooses reports whether Chaos Mesh picks the fault's pods among those that are selected.
func chooses(o Object) bool {
	o, err := made(o)
	if err != nil {
		return false
	}
	e, ok := o.(experiment)
	return ok && experimentSelectors(e)[0].pods.Mode != v1alpha1.AllMode
}

func (f *absent) apply(context.Context) error        { return nil }
func (f *absent) look(context.Context) error         { return nil }
func (f *absent) injected() (bool, error)            { return true, nil }
func (f *absent) recovered() (bool, error)           { return !time.Now().Before(f.over), nil }
func (f *absent) victims() (source, target []string) { return f.source, f.target }
func (f *absent) explain(context.Context) error {
	return fmt.Errorf("it is to last until %s", f.over.Format(time.TimeOnly))
}
func (f *absent) remove(context.Context, time.Duration) (bool, error) { return false, nil }
