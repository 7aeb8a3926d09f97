package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/probe"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// AfterCut asks the journal of every node that was cut when it first held an
// entry after that, and returns how long it took.
func (r *Run) AfterCut(ctx context.Context, match func(event.Entry) bool) (Reactions, error) {
	reactions := Reactions{}
	for n, cut := range r.CutAt {
		journal, err := r.Mesh.Journal(ctx, n)
		if err != nil {
			return reactions, err
		}
		e, ok := First(journal, cut, match)
		if !ok {
			return reactions, fmt.Errorf("the journal of %s holds no such entry after its cut at %s, but %s",
				n, cut.Format(time.RFC3339Nano), Kinds(journal, cut))
		}
		reactions[n] = e.Time.Sub(cut)
	}
	return reactions, nil
}

// Rerouted returns how long after its cut each node recalculated its routes.
// The journal dates it by the action that did; where it holds none, the first
// scrape that shows the counter grown stands in, which can only be late.
func (r *Run) Rerouted(ctx context.Context) (Reactions, error) {
	grown, err := r.Prom.Grown(ctx, metric.RoutesRecalculated, nil, r.Window)
	if err != nil {
		return nil, err
	}
	reactions := Reactions{}
	for n, cut := range r.CutAt {
		journal, err := r.Mesh.Journal(ctx, n)
		if err != nil {
			return reactions, err
		}
		at, ok := grown[n]
		if !ok {
			return reactions, fmt.Errorf("%s has not recalculated its routes since the fault", n)
		}
		if e, ok := First(journal, cut, Done(metric.ActivateBackupRoutes)); ok && e.Time.Before(at) {
			at = e.Time
		}
		reactions[n] = at.Sub(cut)
	}
	return reactions, nil
}

// AfterHeal asks the journal of every node that was cut when its session with
// each peer that it had lost was verified again, and returns how long that
// took from the heal of that very pair.
func (r *Run) AfterHeal(ctx context.Context) (Reactions, error) {
	reactions := Reactions{}
	for n, cut := range r.CutAt {
		journal, err := r.Mesh.Journal(ctx, n)
		if err != nil {
			return reactions, err
		}
		for _, peer := range probe.PeersOf(n, r.Cut) {
			healed, err := r.Probes.Healed(n, peer, cut)
			if err != nil {
				return reactions, err
			}
			// The prober dates a heal up to one interval late.
			e, ok := First(journal, healed.Add(-ProbeSlack), Verified(peer))
			if !ok {
				return reactions, fmt.Errorf("the journal of %s holds no verification of %s after the heal at %s, but %s",
					n, peer, healed.Format(time.RFC3339Nano), Kinds(journal, healed))
			}
			reactions[n+"→"+peer] = e.Time.Sub(healed)
		}
	}
	return reactions, nil
}
