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
	for k := propose; k <= handover; k++ {
		if !seen[k] {
			t.Errorf("kind %d is missing", k)
		}
	}
}
