package fault

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/x0tta6bl4/mesh/fixtures"
)

// server is a cluster that answers each creation as a test says.
func server(t *testing.T, answer func(o client.Object) error) (c client.Client, made *[]client.Object) {
	t.Helper()
	made = &[]client.Object{}
	inner, ok := fakeClient(t).(client.WithWatch)
	if !ok {
		t.Fatal("the fake client does not watch")
	}
	return interceptor.NewClient(inner, interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			var all client.CreateOptions
			all.ApplyOptions(opts)
			if len(all.DryRun) != 1 || all.DryRun[0] != metav1.DryRunAll {
				t.Errorf("%s would be made: %+v", name(o), all)
			}
			*made = append(*made, o)
			return answer(o)
		},
	}), made
}

func everyFixture(t *testing.T) map[string]Object {
	t.Helper()
	all, _, err := LoadAll(fixtures.FS)
	if err != nil || len(all) < 9 {
		t.Fatalf("%d fixtures: %v", len(all), err)
	}
	return all
}

func TestDryRunAsksOfEveryFixture(t *testing.T) {
	c, made := server(t, func(o client.Object) error {
		if o.GetName() == "mesh-node-crash" { // one that is there already has been looked at
			return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "podchaos"}, o.GetName())
		}
		return nil
	})
	all := everyFixture(t)
	if err := DryRun(t.Context(), c, "default", all); err != nil {
		t.Fatal(err)
	}
	if len(*made) != len(all) {
		t.Errorf("asked of %d of %d", len(*made), len(all))
	}
	for _, o := range *made {
		if o.GetNamespace() != "default" {
			t.Errorf("%s is not in the namespace that is there", name(o))
		}
		switch o := o.(type) {
		case *v1alpha1.NetworkChaos:
			if got := o.Spec.Selector.Namespaces; len(got) != 1 || got[0] != "default" {
				t.Errorf("%s selects in %v", name(o), got)
			}
		case *corev1.Pod: // the server takes no pod without a container, nor with an ephemeral one
			if len(o.Spec.Containers) != 1 || len(o.Spec.EphemeralContainers) != 0 || len(o.Spec.Containers[0].Args) == 0 {
				t.Errorf("%s has %d containers", name(o), len(o.Spec.Containers))
			}
		}
	}
	for file, o := range all {
		if o.GetNamespace() != "x0tta6bl4" {
			t.Errorf("%s was moved to %s", file, o.GetNamespace())
		}
	}
}

func TestDryRunNamesEveryFixtureThatIsRefused(t *testing.T) {
	kind := schema.GroupKind{Group: "chaos-mesh.org", Kind: "NetworkChaos"}
	for answer, refused := range map[error]string{
		apierrors.NewInvalid(kind, "x", field.ErrorList{field.Invalid(field.NewPath("spec", "direction"), "in", "is none")}):             "spec.direction",
		apierrors.NewForbidden(schema.GroupResource{Resource: "networkchaos"}, "x", errors.New("admission webhook\ndenied the request")): "webhook denied",
		apierrors.NewBadRequest("strict decoding error"): "strict decoding",
	} {
		c, made := server(t, func(o client.Object) error {
			if strings.HasPrefix(o.GetName(), "mesh-latency") {
				return answer
			}
			return nil
		})
		all := everyFixture(t)
		err := DryRun(t.Context(), c, "default", all)
		var f *FixtureError
		if !errors.As(err, &f) || !strings.Contains(f.Reason, refused) {
			t.Errorf("%v: got %v", answer, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "latency.yaml: ") || !strings.Contains(err.Error(), "latency-one-node.yaml: ") ||
			strings.Contains(err.Error(), "network-partition") || strings.Count(err.Error(), "\n") != 1) {
			t.Errorf("want a line for each of two: %v", err)
		}
		if len(*made) != len(all) {
			t.Errorf("asked of %d of %d, more than once or not of all", len(*made), len(all))
		}
	}
}

// A server in trouble says nothing about a fixture.
func TestDryRunRetriesTrouble(t *testing.T) {
	trouble := apierrors.NewInternalError(errors.New("failed calling webhook: connection refused"))
	times := 0
	c, _ := server(t, func(client.Object) error {
		if times++; times < 3 {
			return trouble
		}
		return nil
	})
	one := map[string]Object{"latency.yaml": load(t, "latency.yaml")}
	if err := DryRun(t.Context(), c, "default", one); err != nil || times != 3 {
		t.Errorf("after %d times: %v", times, err)
	}
	for _, trouble := range []error{trouble, errors.New("connection reset"), apierrors.NewTooManyRequests("later", 1), apierrors.NewUnauthorized("who?")} {
		c, _ := server(t, func(client.Object) error { return trouble })
		err := DryRun(soon(t), c, "default", one)
		var f *FixtureError
		if err == nil || errors.As(err, &f) || !strings.Contains(err.Error(), trouble.Error()) || !strings.Contains(err.Error(), "latency.yaml") {
			t.Errorf("%v: got %v", trouble, err)
		}
	}
}

// What has been refused stays so, whatever comes after.
func TestDryRunKeepsRefusalsBesideTrouble(t *testing.T) {
	c, _ := server(t, func(o client.Object) error {
		if o.GetName() == "mesh-latency-injection" {
			return apierrors.NewBadRequest("no")
		}
		return errors.New("connection reset")
	})
	err := DryRun(soon(t), c, "default", map[string]Object{"a.yaml": load(t, "latency.yaml"), "b.yaml": load(t, "network-partition.yaml")})
	var f *FixtureError
	if !errors.As(err, &f) || f.File != "a.yaml" || !strings.Contains(err.Error(), "b.yaml cannot be checked") {
		t.Errorf("got %v", err)
	}
}
