package client

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestWitness: a look that comes late is a stall, one that comes a little late is none,
// and a process that runs has none.
func TestWitness(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := NewWitness(reg)
	now := time.Now()
	for _, late := range []time.Duration{0, stallLimit, stallLimit + time.Millisecond, 0, time.Second} {
		w.look(now)
		now = now.Add(lookEvery + late)
	}
	w.look(now)
	if n := stalls(t, reg); n != 2 {
		t.Errorf("%d stalls, want 2", n)
	}
	bubble.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		w := NewWitness(reg)
		go w.Run(t.Context())
		time.Sleep(time.Minute)
		if n := stalls(t, reg); n != 0 {
			t.Errorf("%d stalls of a process that runs", n)
		}
	})
}

func stalls(t *testing.T, reg *prometheus.Registry) uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetHistogram().GetSampleCount()
}
