package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// DryRun has the API server, and with it Chaos Mesh's webhooks, check each fixture, by
// its file's name, as if it were made in a namespace that exists; nothing is kept. What the server refuses
// is a *FixtureError for each; the server's own trouble is retried until the context ends, and
// is then an error of another type.
//
// An ephemeral container cannot be made with its pod: it is checked as that pod's only one.
func DryRun(ctx context.Context, c client.Client, namespace string, fixtures map[string]Object) error {
	var errs []error
	for _, file := range slices.Sorted(maps.Keys(fixtures)) {
		o, err := rehearsed(fixtures[file], namespace)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		var last error
		err = wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
			attempt, ok := o.DeepCopyObject().(client.Object) // the server's answer is written into it
			if !ok {
				return false, fmt.Errorf("%T: the copy has another type", o)
			}
			err := c.Create(ctx, attempt, client.DryRunAll)
			if err == nil || apierrors.IsAlreadyExists(err) { // which is looked at last
				return true, nil
			}
			if refusal(err) {
				return false, &FixtureError{File: file, Reason: "the API server refuses it: " + oneLine(err)}
			}
			if ctx.Err() == nil { // at the deadline, what was wrong before it tells more
				last = err
			}
			return false, nil
		})
		if wait.Interrupted(err) {
			errs = append(errs, fmt.Errorf("%s cannot be checked by the API server: %w", file, errors.Join(err, last)))
			break
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Admitted has the API server, and with it Chaos Mesh's webhooks, look at an object of theirs, of which nothing is kept. Its
// error says why they do not take it.
func Admitted(ctx context.Context, c client.Client) error {
	return c.Create(ctx, &v1alpha1.PodChaos{
		ObjectMeta: metav1.ObjectMeta{Name: "probe", Namespace: metav1.NamespaceDefault},
		Spec: v1alpha1.PodChaosSpec{
			Action: v1alpha1.PodKillAction,
			ContainerSelector: v1alpha1.ContainerSelector{PodSelector: v1alpha1.PodSelector{
				Mode:     v1alpha1.AllMode,
				Selector: v1alpha1.PodSelectorSpec{GenericSelectorSpec: v1alpha1.GenericSelectorSpec{Namespaces: []string{metav1.NamespaceDefault}}},
			}},
		},
	}, client.DryRunAll)
}

// rehearsed returns what a dry run makes in place of an object.
func rehearsed(o Object, namespace string) (client.Object, error) {
	moved, ok := o.DeepCopyObject().(Object)
	if !ok {
		return nil, fmt.Errorf("%T: the copy has another type", o)
	}
	Retarget(moved, namespace)
	patch, ok := moved.(*corev1.Pod)
	if !ok {
		return moved, nil
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: patch.Name, Namespace: namespace}}
	for _, e := range patch.Spec.EphemeralContainers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container(e.EphemeralContainerCommon))
	}
	return pod, nil
}

// refusal tells whether the API server has looked at an object and does not take it.
func refusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	switch status.Status().Code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// oneLine is an error's text without its line breaks.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
