package client

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

const (
	// lookEvery is how often the client sees whether it runs.
	lookEvery = 10 * time.Millisecond
	// stallLimit is how late it may be for that: as late as a node may be before it
	// judges no peer.
	stallLimit = 50 * time.Millisecond
)

// Witness measures for how long its process is kept from running. It has no part in the
// mesh: what it sees is how busy the machine is.
type Witness struct {
	stalls prometheus.Histogram
	last   time.Time
}

// NewWitness registers the metric.
func NewWitness(reg prometheus.Registerer) *Witness {
	w := &Witness{stalls: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: metric.ClientStall, Help: "How long the recording client was kept from running, where that was for more than 50 ms.",
		Buckets: []float64{0.1, metric.ClientStallLong, 0.4, 0.8},
	})}
	reg.MustRegister(w.stalls)
	return w
}

// Run watches until ctx ends.
func (w *Witness) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	w.look(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look(time.Now())
		}
	}
}

// look observes a stall if this look is much later than the one before it.
func (w *Witness) look(now time.Time) {
	if late := now.Sub(w.last) - lookEvery; !w.last.IsZero() && late > stallLimit {
		w.stalls.Observe(late.Seconds())
	}
	w.last = now
}
