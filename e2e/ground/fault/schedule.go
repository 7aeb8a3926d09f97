package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// scheduled is the life of a Schedule and of the experiments that it makes.
type scheduled struct {
	client   client.Client
	object   *v1alpha1.Schedule
	children []experiment
	none     time.Time // of the last look that found no child
	pods     pods
}

func (f *scheduled) apply(ctx context.Context) error {
	e, _, _, err := template(f.object)
	if err != nil {
		return err
	}
	e.SetNamespace(f.object.Namespace)
	if err := f.pods.remember(ctx, f.client, e); err != nil {
		return err
	}
	return f.client.Create(ctx, f.object)
}

func (f *scheduled) look(ctx context.Context) error {
	if err := f.client.Get(ctx, client.ObjectKeyFromObject(f.object), f.object); err != nil {
		return err
	}
	kind, ok := v1alpha1.AllKinds()[string(f.object.Spec.Type)]
	if !ok {
		return fmt.Errorf("unknown type %s", f.object.Spec.Type)
	}
	at, l := time.Now(), kind.SpawnList()
	ol, ok := l.(client.ObjectList)
	if !ok {
		return fmt.Errorf("%T is no list", l)
	}
	err := f.client.List(ctx, ol, client.InNamespace(f.object.Namespace), client.MatchingLabels{v1alpha1.LabelManagedBy: f.object.Name})
	if err != nil {
		return fmt.Errorf("list what the schedule made: %w", err)
	}
	f.children = nil
	for _, item := range l.GetItems() {
		if e, ok := item.(experiment); ok {
			f.children = append(f.children, e)
		}
	}
	if len(f.children) == 0 {
		f.none = at
		return nil
	}
	return f.pods.look(ctx, f.client, f.children[0])
}

func (f *scheduled) injected() (bool, error) {
	return slices.ContainsFunc(f.children, f.pods.injected), nil
}

func (f *scheduled) recovered() (bool, error) {
	open := slices.ContainsFunc(f.children, func(e experiment) bool { return !f.pods.recovered(e) })
	return len(f.children) > 0 && !open, nil
}

func (f *scheduled) victims() (source, target []string) {
	for _, e := range f.children {
		s, t := victims(e)
		source, target = append(source, s...), append(target, t...)
	}
	return source, target
}

func (f *scheduled) explain(ctx context.Context) error {
	if len(f.children) == 0 {
		return fmt.Errorf("it made no experiment yet (schedule %s, last at %v)", f.object.Spec.Schedule, f.object.Status.LastScheduleTime)
	}
	var errs []error
	for _, e := range f.children {
		errs = append(errs, fmt.Errorf("%s: %w", e.GetName(), explain(ctx, f.client, e)))
	}
	return errors.Join(errs...)
}

// remove deletes the schedule first, so that it makes no more, and then what it made:
// the garbage collector would, but nobody could wait for it.
func (f *scheduled) remove(ctx context.Context, patience time.Duration) (forced bool, err error) {
	if err := f.look(ctx); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("delete %s: %w", name(f.object), err)
	}
	forced, err = removeForced(ctx, f.client, f.object, patience)
	for _, e := range f.children {
		byForce, childErr := removeForced(ctx, f.client, e, patience)
		forced, err = forced || byForce, errors.Join(err, childErr)
	}
	return forced, err
}
