package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/observe/probe"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// Partition is a network partition under way.
type Partition struct {
	*Episode
	// Cut are the pairs that the fault cuts, Open the others.
	Cut, Open []probe.Pair
	// CutAt is when each node's partition began, by the prober in its own pod:
	// see CutMoment.
	CutAt map[string]time.Time
}

// Partition cuts the network by a fixture and proves from outside that every
// pair that it should cut is cut, and no other.
func (r *Run) Partition(ctx context.Context, fixture string) (*Partition, error) {
	o, err := r.load(fixture)
	if err != nil {
		return nil, err
	}
	source, target, err := fault.Sides(o, r.pods)
	if err != nil {
		return nil, invalid(err)
	}
	all := probe.All(r.Nodes)
	p := &Partition{Cut: probe.Between(source, target), CutAt: map[string]time.Time{}}
	p.Open = probe.Without(all, p.Cut)
	p.Episode, err = r.inject(ctx, o, func(*Episode) proof {
		return proof{
			bites: func(context.Context) error { return r.Probes.Proof(p.Cut, p.Open) },
			over:  func(context.Context) error { return r.Probes.Proof(nil, all) },
		}
	})
	if err != nil {
		return nil, err
	}
	for _, n := range r.Nodes {
		peers := probe.PeersOf(n, p.Cut)
		if len(peers) == 0 {
			continue
		}
		losses, err := r.Probes.Losses(n, peers)
		if err != nil { // healed in the same breath
			return nil, invalid(fmt.Errorf("the fault does not last: %w", err))
		}
		p.CutAt[n] = CutMoment(losses)
	}
	return p, nil
}

// Ends are the nodes that have lost a peer.
func (p *Partition) Ends() []string { return slices.Sorted(maps.Keys(p.CutAt)) }

// CutMoment returns when a node's partition began, given when it lost each of
// its peers, at least one, in order: with the second loss, since the loss of a single peer is
// not a partition. It is the earliest moment at which anybody could tell, and
// so the one that makes the node's reaction longest.
func CutMoment(losses []time.Time) time.Time {
	return losses[min(1, len(losses)-1)]
}

// AfterCut asks the journal of every node that was cut when it first held an
// entry after that, and returns how long it took.
func (p *Partition) AfterCut(ctx context.Context, match func(event.Entry) bool) (Reactions, error) {
	reactions := Reactions{}
	for n, cut := range p.CutAt {
		journal, err := p.run.Mesh.Journal(ctx, n)
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

// AfterHeal asks the journal of every node that was cut when its session with
// each peer that it had lost was verified again, and returns how long that
// took from the heal of that very pair.
func (p *Partition) AfterHeal(ctx context.Context) (Reactions, error) {
	reactions := Reactions{}
	for n := range p.CutAt {
		journal, err := p.run.Mesh.Journal(ctx, n)
		if err != nil {
			return reactions, err
		}
		for _, peer := range probe.PeersOf(n, p.Cut) {
			// At the proof each pair was cut; before, one may have been lost and heard again.
			healed, err := p.run.Probes.Healed(n, peer, *p.Times.Proven)
			if err != nil {
				return reactions, err
			}
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

// Gaps waits until each end of every pair that was cut hears the other through
// a relay, and returns how long there was no frame: from the cut, by the
// prober, to the journal's entry.
func (p *Partition) Gaps(ctx context.Context) (Reactions, error) {
	gaps := Reactions{}
	err := await(ctx, Wait.Settle, func(ctx context.Context) error {
		for n, cut := range p.CutAt {
			journal, err := p.run.Mesh.Journal(ctx, n)
			if err != nil {
				return err
			}
			for _, peer := range probe.PeersOf(n, p.Cut) {
				e, ok := First(journal, cut, Relayed(peer))
				if !ok {
					return fmt.Errorf("the journal of %s holds no frame of %s by relay after the cut at %s, but %s",
						n, peer, cut.Format(time.RFC3339Nano), Kinds(journal, cut))
				}
				gaps[n+"→"+peer] = e.Time.Sub(cut)
			}
		}
		return nil
	})
	return gaps, err
}
