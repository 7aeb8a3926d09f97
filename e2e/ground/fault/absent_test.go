package fault

import (
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/fixtures"
)

// What is said to be there has the victims that it would have, touches no cluster, and lasts
// for its time.
func TestPretend(t *testing.T) {
	pods := meshPods("scenario-1")
	for i := range pods {
		pods[i].Labels["component"] = "pqc-verifier"
	}
	for name, want := range map[string]struct{ source, target []string }{
		"network-partition.yaml":        {[]string{"a-0", "a-1", "b-0"}, []string{"b-0"}},
		"latency.yaml":                  {[]string{"a-0", "a-1", "b-0"}, nil},
		"node-crash.yaml":               {[]string{"a-0"}, nil}, // one is chosen
		"node-crash-schedule.yaml":      {[]string{"a-0"}, nil},
		"resource-stress.yaml":          {[]string{"a-0"}, nil},
		"pqc-verification-failure.yaml": {[]string{"a-0"}, nil},
		"pqc-inject.yaml":               {nil, nil}, // a Job is in no pod of the mesh
	} {
		o, err := Load(fixtures.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		Retarget(o, "scenario-1")
		i, err := Pretend(o, pods, time.Hour)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if source, target := i.Sides(); !slices.Equal(source, want.source) || !slices.Equal(target, want.target) {
			t.Errorf("%s: in %v and %v, want %v and %v", name, source, target, want.source, want.target)
		}
		if err := i.WaitInjected(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if over, err := i.kind.recovered(); over || err != nil {
			t.Errorf("%s is over at once: %v", name, err)
		}
		if forced, err := i.Delete(t.Context(), 0); forced || err != nil {
			t.Errorf("%s: deleted by force %v: %v", name, forced, err)
		}
		over, err := Pretend(o, pods, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := over.WaitRecovered(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A fault that would be in nobody cannot be said to be there.
func TestPretendSelectsSomebody(t *testing.T) {
	o := partition(t)
	Retarget(o, "elsewhere")
	if _, err := Pretend(o, meshPods("scenario-1"), time.Minute); err == nil {
		t.Error("a fault in no pod is said to be there")
	}
}
