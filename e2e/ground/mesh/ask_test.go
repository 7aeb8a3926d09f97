package mesh

import (
	"testing"
	"time"
)

// A clock is off by no more than what its answer leaves open.
func TestSkewBound(t *testing.T) {
	epoch := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	for name, c := range map[string]struct{ sent, told, got, want int }{
		"right, and asked in no time":         {100, 100, 100, 0},
		"right, and in the middle":            {100, 105, 110, 5},
		"right, and the answer took longer":   {100, 100, 110, 10},
		"right, and the question took longer": {100, 110, 110, 10},
		"ahead":                               {100, 405, 110, 305},
		"behind":                              {100, -195, 110, 305},
	} {
		if got := skewBound(at(c.sent), at(c.told), at(c.got)); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("%s: %v, want %d ms", name, got, c.want)
		}
	}
}
