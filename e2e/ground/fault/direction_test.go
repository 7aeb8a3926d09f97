package fault

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

func arrows(all []Direction) string {
	var s []string
	for _, d := range all {
		s = append(s, d.From+">"+d.To)
	}
	return strings.Join(s, " ")
}

// between makes the partition one between two pods or zones.
func between(n *v1alpha1.NetworkChaos, way v1alpha1.Direction, key, source, target string) *v1alpha1.NetworkChaos {
	n.Spec.Direction = way
	n.Spec.Selector.LabelSelectors = map[string]string{key: source}
	n.Spec.Target.Selector.LabelSelectors = map[string]string{key: target}
	return n
}

func TestCutsFollowTheDirection(t *testing.T) {
	for way, want := range map[v1alpha1.Direction]string{
		v1alpha1.To:   "a-0>b-0 a-1>b-0",
		"":            "a-0>b-0 a-1>b-0", // the schema's default
		v1alpha1.From: "b-0>a-0 b-0>a-1",
		v1alpha1.Both: "a-0>b-0 a-1>b-0 b-0>a-0 b-0>a-1",
	} {
		o := between(partition(t), way, "zone", "zone-a", "zone-b")
		Retarget(o, "s1")
		got, err := Cuts(o, append(meshPods("s1"), meshPods("s2")...))
		if err != nil || arrows(got) != want {
			t.Errorf("direction %q: %s, %v; want %s", way, arrows(got), err, want)
		}
	}
}

// The document's partition has zone-b on both sides: what a node of zone-b sends
// another is cut whatever the direction.
func TestCutsWithinTheTarget(t *testing.T) {
	for way, want := range map[v1alpha1.Direction]string{
		v1alpha1.To:   "a-0>b-0 a-0>b-1 b-0>b-1 b-1>b-0",
		v1alpha1.From: "b-0>a-0 b-0>b-1 b-1>a-0 b-1>b-0",
		v1alpha1.Both: "a-0>b-0 a-0>b-1 b-0>a-0 b-0>b-1 b-1>a-0 b-1>b-0",
	} {
		o := partition(t)
		o.Spec.Direction = way
		Retarget(o, "s1")
		got, err := Cuts(o, append(meshPods("s1")[1:], pod("s1", "b-1", "app", "mesh-node", "zone", "zone-b")))
		if err != nil || arrows(got) != want {
			t.Errorf("direction %q: %s, %v; want %s", way, arrows(got), err, want)
		}
	}
}

func TestCutsRefusesWhatCutsNoPair(t *testing.T) {
	n := partition(t)
	n.Spec.Target = nil
	n.Spec.ExternalTargets = []string{"192.0.2.1"}
	if got, err := Cuts(n, meshPods("x0tta6bl4")); err == nil {
		t.Errorf("only an external target: %v", got)
	}
	for _, fixture := range []string{"latency.yaml", "node-crash.yaml", "node-crash-schedule.yaml", "pqc-inject.yaml", "pqc-corrupt.yaml"} {
		if got, err := Cuts(load(t, fixture), meshPods("x0tta6bl4")); err == nil {
			t.Errorf("%s cuts %v", fixture, got)
		}
	}
	if _, err := Cuts(partition(t), meshPods("elsewhere")); !errors.Is(err, ErrSelectsNothing) {
		t.Errorf("no pods: %v", err)
	}
	n = between(partition(t), v1alpha1.Both, "zone", "zone-b", "zone-b") // one pod, which reaches itself
	if got, err := Cuts(n, meshPods("x0tta6bl4")); err == nil {
		t.Errorf("a pod from itself: %v", got)
	}
	n = partition(t)
	n.Spec.Mode = v1alpha1.OneMode
	if got, err := Cuts(n, meshPods("x0tta6bl4")); err == nil {
		t.Errorf("mode one: %v", got)
	}
}

func TestCutsOfASchedule(t *testing.T) {
	n := between(partition(t), v1alpha1.To, "zone", "zone-a", "zone-b")
	s := &v1alpha1.Schedule{Spec: v1alpha1.ScheduleSpec{Type: v1alpha1.ScheduleTypeNetworkChaos}}
	s.Spec.NetworkChaos = &n.Spec
	got, err := Cuts(s, meshPods("x0tta6bl4"))
	if want := "a-0>b-0 a-1>b-0"; err != nil || arrows(got) != want {
		t.Errorf("%s, %v; want %s", arrows(got), err, want)
	}
}

// A delay of the victims of mode one: what they send, whether to all or to a target.
func TestDirectionsOfADelay(t *testing.T) {
	nodes := []string{"a-0", "a-1", "b-0"}
	delay := func() *v1alpha1.NetworkChaos { return load(t, "latency.yaml").(*v1alpha1.NetworkChaos) }
	got, err := Directions(delay(), []string{"a-1"}, nil, nodes)
	if want := "a-1>a-0 a-1>b-0"; err != nil || arrows(got) != want {
		t.Errorf("without a target: %s, %v; want %s", arrows(got), err, want)
	}
	for way, want := range map[v1alpha1.Direction]string{v1alpha1.To: "a-1>b-0", v1alpha1.From: "b-0>a-1", v1alpha1.Both: "a-1>b-0 b-0>a-1"} {
		n := delay()
		n.Spec.Direction, n.Spec.Target = way, &v1alpha1.PodSelector{}
		if got, err := Directions(n, []string{"a-1"}, []string{"b-0"}, nodes); err != nil || arrows(got) != want {
			t.Errorf("direction %s: %s, %v; want %s", way, arrows(got), err, want)
		}
		_, err := Directions(n, []string{"a-1", "b-0"}, []string{"b-0"}, nodes)
		if foreseen := err == nil; foreseen != (way != v1alpha1.Both) {
			t.Errorf("direction %s, a pod on both sides: %v", way, err)
		}
	}
	n := delay()
	n.Spec.Direction = v1alpha1.From
	if got, err := Directions(n, nodes[:1], nil, nodes); err == nil {
		t.Errorf("from no target: %v", got)
	}
}

func TestInjectionTellsSidesByRecord(t *testing.T) {
	l := begin(t, "network-partition.yaml")
	o := l.object.(*v1alpha1.NetworkChaos)
	o.Status.ChaosStatus = status(v1alpha1.RunningPhase, v1alpha1.ConditionAllInjected)
	for _, r := range [][2]string{{"x0tta6bl4/a-1", "."}, {"x0tta6bl4/b-0", ".Target"}, {"x0tta6bl4/a-0", "."}, {"x0tta6bl4/b-0", "."}} {
		o.Status.Experiment.Records = append(o.Status.Experiment.Records, &v1alpha1.Record{Id: r[0], SelectorKey: r[1]})
	}
	l.update(o)
	if err := l.WaitInjected(soon(t)); err != nil {
		t.Fatal(err)
	}
	source, target := l.Sides()
	if !slices.Equal(source, []string{"a-0", "a-1", "b-0"}) || !slices.Equal(target, []string{"b-0"}) {
		t.Errorf("source %v, target %v", source, target)
	}
	if source, target := begin(t, "pqc-inject.yaml").Sides(); len(source)+len(target) > 0 {
		t.Errorf("of a Job: %v, %v", source, target)
	}
}

func TestMostly(t *testing.T) {
	nodes := []string{"a-1", "a-0", "a-2", "b-0", "b-1"}
	for name, c := range map[string]struct {
		ways []Direction
		want string
	}{
		"all":            {[]Direction{{"a-0", "a-1"}, {"a-0", "a-2"}, {"a-0", "b-0"}, {"a-0", "b-1"}}, "a-0"},
		"three of four":  {[]Direction{{"a-1", "a-0"}, {"a-2", "a-0"}, {"a-0", "b-0"}}, "a-0"},
		"two of four":    {[]Direction{{"a-0", "b-0"}, {"a-0", "b-1"}}, ""},
		"two both ways":  {[]Direction{{"a-0", "b-0"}, {"b-0", "a-0"}, {"a-0", "b-1"}, {"b-1", "a-0"}}, ""},
		"nobody":         {nil, ""},
		"a zone's nodes": {[]Direction{{"b-0", "a-0"}, {"b-0", "a-1"}, {"b-0", "a-2"}, {"b-1", "a-0"}, {"b-1", "a-1"}, {"b-1", "a-2"}}, "b-0 b-1"},
	} {
		if got := strings.Join(Mostly(c.ways, nodes), " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
