package twist

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
)

// Every byte of a message and every field of its JSON is hostile in one copy or another,
// and the message itself stays as it was.
func TestEveryFieldIsHostile(t *testing.T) {
	said := append([]byte{7, 0, 0}, `{"name":"mesh-node-a-0","seq":5,"list":[{"x":1}]}`...)
	kept := bytes.Clone(said)
	touched := make([]bool, len(said))
	names, sequences := map[string]bool{}, 0
	for _, b := range Messages(rand.New(rand.NewPCG(1, 1)), said, 1<<20) {
		for i := range min(len(b), len(said)) {
			touched[i] = touched[i] || b[i] != said[i]
		}
		var v struct {
			Name any
			Seq  any
		}
		if len(b) > 3 && json.Unmarshal(b[3:], &v) == nil {
			if s, ok := v.Name.(string); ok {
				names[s] = true
			}
			if _, ok := v.Seq.(float64); !ok {
				sequences++
			}
		}
	}
	for i, hit := range touched {
		if !hit {
			t.Errorf("byte %d is never hostile", i)
		}
	}
	for _, want := range []string{"", "<<<<<<<<<<<<", "UPPER"} {
		if !names[want] {
			t.Errorf("no copy has the name %q", want)
		}
	}
	if sequences == 0 {
		t.Error("no copy has a sequence of another type")
	}
	if !bytes.Equal(said, kept) {
		t.Error("the message was changed")
	}
}
