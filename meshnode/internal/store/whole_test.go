package store

import (
	"testing"

	"github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
)

// TestHostileKnowsTheQuestions: what stands for a summary and for a question is one.
func TestHostileKnowsTheQuestions(t *testing.T) {
	questions := hostile.Questions("a")
	s, _, err := decodeSummary(questions[0])
	if err != nil || s.After == "" || s.Through == "" || len(s.Have) == 0 || len(s.Refused) == 0 {
		t.Errorf("summary %+v, %v", s, err)
	}
	if p, err := decodeWant(questions[1]); err != nil || p.seq != 1 {
		t.Errorf("question %+v, %v", p, err)
	}
}
