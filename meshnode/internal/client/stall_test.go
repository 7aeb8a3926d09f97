package client

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestWitness: a look that comes late is a stall, one that comes a little late is none,
// and a process that runs has none.
func TestWitness(t *testing.T) {
	w := NewWitness(prometheus.NewRegistry())
	now := time.Now()
	for _, late := range []time.Duration{0, stallLimit, stallLimit + time.Millisecond, 0, time.Second} {
		w.look(now)
		now = now.Add(lookEvery + late)
	}
	w.look(now)
	if n := testutil.ToFloat64(w.stalls); n != 2 {
		t.Errorf("%v stalls, want 2", n)
	}
	synctest.Test(t, func(t *testing.T) {
		w := NewWitness(prometheus.NewRegistry())
		go w.Run(t.Context())
		time.Sleep(time.Minute)
		if n := testutil.ToFloat64(w.stalls); n != 0 {
			t.Errorf("%v stalls of a process that runs", n)
		}
	})
}
