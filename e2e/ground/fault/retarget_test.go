package fault

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/x0tta6bl4/mesh/fixtures"
)

func partition(t *testing.T) *v1alpha1.NetworkChaos {
	t.Helper()
	o, err := Load(fixtures.FS, "network-partition.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return o.(*v1alpha1.NetworkChaos)
}

func pod(namespace, name string, labels ...string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{}}}
	for i := 0; i < len(labels); i += 2 {
		p.Labels[labels[i]] = labels[i+1]
	}
	return p
}

func meshPods(namespace string) []corev1.Pod {
	return []corev1.Pod{
		pod(namespace, "a-1", "app", "mesh-node", "zone", "zone-a"),
		pod(namespace, "a-0", "app", "mesh-node", "zone", "zone-a"),
		pod(namespace, "b-0", "app", "mesh-node", "zone", "zone-b"),
		pod(namespace, "client", "app", "mesh-client"),
	}
}

func TestRetargetMovesEverySelector(t *testing.T) {
	o := partition(t)
	o.Spec.Selector.Pods = map[string][]string{"x0tta6bl4": {"b-0", "a-0"}}
	Retarget(o, "scenario-1")
	if o.Namespace != "scenario-1" {
		t.Errorf("object in %s", o.Namespace)
	}
	want := []string{"scenario-1"}
	if got := o.Spec.Selector.Namespaces; !reflect.DeepEqual(got, want) {
		t.Errorf("source selector in %v", got)
	}
	if got := o.Spec.Target.Selector.Namespaces; !reflect.DeepEqual(got, want) {
		t.Errorf("target selector in %v", got)
	}
	if got := o.Spec.Selector.Pods; !reflect.DeepEqual(got, map[string][]string{"scenario-1": {"a-0", "b-0"}}) {
		t.Errorf("pods %v", got)
	}
	if *o.Spec.Duration != "60s" || o.Spec.Selector.LabelSelectors["app"] != "mesh-node" {
		t.Errorf("changed more than namespaces: %+v", o.Spec)
	}
}

func TestRetargetAddsANamespaceWhereThereIsNone(t *testing.T) {
	o := partition(t)
	o.Spec.Selector.Namespaces = nil // would select in every namespace
	Retarget(o, "scenario-1")
	if got := o.Spec.Selector.Namespaces; len(got) != 1 || got[0] != "scenario-1" {
		t.Fatalf("source selector in %v", got)
	}
}

func TestShorten(t *testing.T) {
	cases := []struct {
		given    string
		d, least time.Duration
		want     string
		fails    bool
	}{
		{given: "60s", d: 20 * time.Second, least: 15 * time.Second, want: "20s"},
		{given: "10s", d: 20 * time.Second, least: 5 * time.Second, want: "10s"},
		{given: "", d: 20 * time.Second, least: 5 * time.Second, want: "20s"},
		{given: "60s", d: 5 * time.Second, least: 10 * time.Second, fails: true},
	}
	for _, c := range cases {
		o := partition(t)
		o.Spec.Duration = nil
		if c.given != "" {
			o.Spec.Duration = &c.given
		}
		err := Shorten(o, c.d, c.least)
		if (err != nil) != c.fails {
			t.Errorf("%+v: error %v", c, err)
		}
		if err == nil && *o.Spec.Duration != c.want {
			t.Errorf("%+v: got %s", c, *o.Spec.Duration)
		}
	}
}

func TestSides(t *testing.T) {
	o := partition(t)
	Retarget(o, "s1")
	others := append(meshPods("s1"), meshPods("s2")...) // another scenario's pods must not count
	source, target, err := Sides(o, others)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(source, " "); got != "a-0 a-1 b-0" {
		t.Errorf("source %s", got)
	}
	if got := strings.Join(target, " "); got != "b-0" {
		t.Errorf("target %s", got)
	}
}

func TestSidesThatMatchNothing(t *testing.T) {
	for name, pods := range map[string][]corev1.Pod{
		"no pod at all":    nil,
		"no target":        meshPods("s1")[:2],
		"other namespaces": meshPods("s2"),
	} {
		o := partition(t)
		Retarget(o, "s1")
		if _, _, err := Sides(o, pods); !errors.Is(err, ErrSelectsNothing) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSidesRefusesWhatItCannotForesee(t *testing.T) {
	o := partition(t)
	Retarget(o, "s1")
	o.Spec.Mode = v1alpha1.OneMode
	if _, _, err := Sides(o, meshPods("s1")); err == nil || errors.Is(err, ErrSelectsNothing) {
		t.Fatalf("mode one: got %v", err)
	}
}
