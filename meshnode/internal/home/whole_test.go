package home

import (
	"testing"

	"github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
)

// TestHostileKnowsAllKinds: what stands for every kind of message is one, and no kind is missing.
func TestHostileKnowsAllKinds(t *testing.T) {
	seen := map[kind]bool{}
	for _, b := range hostile.Sessions("a") {
		m, err := decode(b)
		if err != nil {
			t.Error(err)
			continue
		}
		seen[m.Kind] = true
	}
	b := Ballot{3, "mesh-node-z-9"}
	if m, err := decode(hostile.NamesHome("a", id(0), b.Home, b.Epoch)); err != nil || m.Kind != promise || m.ID != id(0) || m.Highest != b {
		t.Errorf("an answer that names a home is %+v, %v", m, err)
	}
	for k := propose; k <= handover; k++ {
		if !seen[k] {
			t.Errorf("kind %d is missing", k)
		}
	}
}
