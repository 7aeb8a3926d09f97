package scenario

import (
	"testing"
	"time"
)

func TestCutMoment(t *testing.T) {
	if got := CutMoment([]time.Time{at(1)}); !got.Equal(at(1)) {
		t.Errorf("one peer: %v", got)
	}
	if got := CutMoment([]time.Time{at(1), at(5), at(900)}); !got.Equal(at(5)) {
		t.Errorf("three peers: %v", got)
	}
}
