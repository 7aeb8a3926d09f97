package fault

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"github.com/x0tta6bl4/mesh/fixtures"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := fixtures.FS.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryFixtureDecodes(t *testing.T) {
	if notes, err := Check(fixtures.FS); err != nil || len(notes) > 0 {
		t.Fatal(notes, err)
	}
}

// The partition must stay the design document's object.
func TestPartitionFixture(t *testing.T) {
	o, err := Load(fixtures.FS, "network-partition.yaml")
	if err != nil {
		t.Fatal(err)
	}
	n, ok := o.(*v1alpha1.NetworkChaos)
	if !ok {
		t.Fatalf("is a %T", o)
	}
	s := n.Spec
	if n.Name != "mesh-network-partition" || n.Namespace != "x0tta6bl4" || s.Action != v1alpha1.PartitionAction ||
		s.Mode != v1alpha1.AllMode || s.Direction != v1alpha1.Both || *s.Duration != "60s" ||
		s.Selector.LabelSelectors["app"] != "mesh-node" || s.Selector.Namespaces[0] != "x0tta6bl4" ||
		s.Target.Mode != v1alpha1.AllMode || s.Target.Selector.LabelSelectors["zone"] != "zone-b" {
		t.Fatalf("differs from the design document: %+v", s)
	}
	if gvk := o.GetObjectKind().GroupVersionKind(); gvk.Kind != "NetworkChaos" || gvk.Group != "chaos-mesh.org" {
		t.Fatalf("kind %v", gvk)
	}
}

func TestDecodeNamesFileLineAndField(t *testing.T) {
	good := read(t, "network-partition.yaml")
	// line tells on which line of the changed fixture a text stands.
	line := func(data, text string) int {
		before, _, ok := strings.Cut(data, text)
		if !ok {
			t.Fatalf("%q is not in the fixture", text)
		}
		return 1 + strings.Count(before, "\n")
	}
	cases := map[string]struct {
		data, field, reason, at string
	}{
		"unknown field": {
			data:  strings.Replace(good, "  duration:", "  scheduler:\n    cron: \"@every 5m\"\n  duration:", 1),
			field: "spec.scheduler", reason: "unknown field", at: "scheduler:",
		},
		"unknown nested field": {
			data:  strings.Replace(good, "  target:\n    selector:", "  target:\n    pods: 2\n    selector:", 1),
			field: "spec.target.pods", reason: "unknown field", at: "pods: 2",
		},
		"duplicate key": {
			data:  strings.Replace(good, "  mode: all\n", "  mode: all\n  mode: one\n", 1),
			field: "", reason: "already defined", at: "mode: one",
		},
		"wrong type": {
			data:  strings.Replace(good, `duration: "60s"`, "duration: 60", 1),
			field: "spec.duration", reason: "must be a string", at: "duration: 60",
		},
		"no duration at all": {
			data:  strings.Replace(good, `"60s"`, `"a while"`, 1),
			field: "spec.duration", reason: "duration", at: `duration: "a while"`,
		},
		"unknown mode": {
			data:  strings.Replace(good, "  mode: all\n  selector", "  mode: most\n  selector", 1),
			field: "spec.mode", reason: "most", at: "mode: most",
		},
		"unknown kind": {
			data:  strings.Replace(good, "kind: NetworkChaos", "kind: NetworkMess", 1),
			field: "kind", reason: "NetworkMess", at: "kind:",
		},
		"a kind without selectors": {
			data:  strings.Replace(good, "kind: NetworkChaos", "kind: Workflow", 1),
			field: "kind", reason: "Workflow", at: "kind:",
		},
		"another API": {
			data:  strings.Replace(good, "chaos-mesh.org/v1alpha1", "v1", 1),
			field: "apiVersion", reason: "must be chaos-mesh.org/v1alpha1", at: "apiVersion:",
		},
		"broken YAML": {
			data: strings.Replace(good, "  mode: all\n", "  mode: [all\n", 1), reason: "did not find", at: "  mode: [all",
		},
		"a second document": {
			data: good + "---\nkind: Pod\n", reason: "one object per fixture", at: "---",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Decode("bad.yaml", []byte(c.data))
			var f *FixtureError
			if !errors.As(err, &f) {
				t.Fatalf("got %v", err)
			}
			if f.File != "bad.yaml" || f.Field != c.field || !strings.Contains(f.Reason, c.reason) {
				t.Errorf("got file %q, field %q, reason %q", f.File, f.Field, f.Reason)
			}
			if want := line(c.data, c.at); f.Line != want && name != "broken YAML" {
				t.Errorf("got line %d, want %d", f.Line, want)
			}
			if f.Line == 0 {
				t.Error("no line")
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestDecodeRefusesNonsense(t *testing.T) {
	for _, data := range []string{"", "---\n", "- a\n", "just text", "\x00", "{", "a: &a [*a]\n"} {
		if _, err := Decode("bad.yaml", []byte(data)); err == nil {
			t.Errorf("%q was accepted", data)
		} else if !strings.HasPrefix(err.Error(), "bad.yaml") {
			t.Errorf("%q: the error does not name the file: %v", data, err)
		}
	}
}

func TestLoadListsWhatThereIs(t *testing.T) {
	_, err := Load(fixtures.FS, "network-partitoin.yaml")
	if err == nil || !strings.Contains(err.Error(), "unknown fixture") || !strings.Contains(err.Error(), "network-partition.yaml") {
		t.Fatalf("got %v", err)
	}
}

func TestCheckReportsEveryBrokenFixture(t *testing.T) {
	fsys := fstest.MapFS{
		"a.yaml": {Data: []byte("kind: [")},
		"b.yaml": {Data: []byte("kind: Pod\n")},
		"c.yaml": {Data: []byte(read(t, "network-partition.yaml"))},
	}
	_, err := Check(fsys)
	if err == nil || !strings.Contains(err.Error(), "a.yaml") || !strings.Contains(err.Error(), "b.yaml") || strings.Contains(err.Error(), "c.yaml") {
		t.Fatalf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	b, err := fixtures.FS.ReadFile("network-partition.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Decode("fuzz.yaml", data)
		if (o == nil) == (err == nil) {
			t.Fatalf("object %v, error %v", o, err)
		}
	})
}
