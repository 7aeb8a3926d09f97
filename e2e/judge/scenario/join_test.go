package scenario

import (
	"errors"
	"io/fs"
	"testing"

	"k8s.io/client-go/kubernetes/fake"
	crfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/fixtures"
)

// TestEveryFixtureCanBeInjected: there is a proof of what each of them does.
func TestEveryFixtureCanBeInjected(t *testing.T) {
	files, err := fs.Glob(fixtures.FS, "*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	unused := (&Run{}).injectors()
	for _, f := range files {
		o, err := fault.Load(fixtures.FS, f)
		if err != nil {
			t.Fatal(err)
		}
		effect, err := fault.Effect(o)
		if _, ok := (&Run{}).injectors()[effect]; err != nil || !ok {
			t.Errorf("%s: nothing injects %q, %v", f, effect, err)
		}
		delete(unused, effect)
	}
	for effect := range unused {
		t.Errorf("no fixture does %s", effect)
	}
}

// TestNoMesh: who enters a mesh that there is not is told what makes one.
func TestNoMesh(t *testing.T) {
	r := &Run{Scenario: &Scenario{Name: "x"}, Mesh: mesh.New(nil, fake.NewClientset(), crfake.NewClientBuilder().Build(), "s1")}
	if err := r.Enter(t.Context()); !errors.Is(err, ErrNoMesh) || err.Error() != "there is no mesh in namespace s1: make mesh-up makes one" {
		t.Errorf("%v", err)
	}
	r.Close() // nothing was opened
}
