package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/e2e/observe/probe"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Partition is a network partition under way.
type Partition struct {
	*Episode
	// Ways are the directions that the fault cuts.
	Ways []probe.Way
	// Cut are the pairs that have lost each other, in one direction or both; Open are the
	// others.
	Cut, Open []probe.Pair
	// CutAt is when each node's partition began, by the prober in its own pod:
	// see CutMoment.
	CutAt map[string]time.Time
}

// Partition cuts the network by a fixture and proves from outside that every
// way that it should cut is cut, and no other.
func (r *Run) Partition(ctx context.Context, fixture string) (*Partition, error) {
	return r.partition(ctx, r.env.Absent, fixture, AlertFor)
}

// LongPartition is Partition for what is judged beside another fault: no profile makes it
// shorter than a minute, and it is there even where faults are absent, to be judged beside.
func (r *Run) LongPartition(ctx context.Context, fixture string) (*Partition, error) {
	return r.partition(ctx, false, fixture, time.Minute)
}

func (r *Run) partition(ctx context.Context, absent bool, fixture string, least time.Duration) (*Partition, error) {
	o, err := r.loadFor(fixture, least)
	if err != nil {
		return nil, err
	}
	cuts, err := fault.Cuts(o, r.pods)
	if err != nil {
		return nil, verdict.Unproven(err)
	}
	all := probe.All(r.Nodes)
	p := &Partition{CutAt: map[string]time.Time{}}
	for _, c := range cuts {
		p.Ways = append(p.Ways, probe.Way(c))
	}
	p.Cut = probe.Pairs(p.Ways)
	p.Open = probe.Without(all, p.Cut)
	lasts, err := fault.Duration(o)
	if err != nil {
		return nil, err
	}
	p.Episode, err = r.injectIn(ctx, absent, disturbance(lasts), o, func(*Episode) proof {
		return proof{
			bites: func(context.Context) error { return r.seen(p.Cut, p.Open, p.Ways) },
			over:  func(context.Context) error { return r.seen(nil, all, nil) },
		}
	})
	if err != nil {
		return nil, err
	}
	for _, n := range r.Nodes {
		peers := p.Lost(n)
		if len(peers) == 0 {
			continue
		}
		if p.Absent {
			p.CutAt[n] = *p.Times.Injected
			continue
		}
		losses, err := r.Probes.Losses(n, peers)
		if err != nil { // healed in the same breath
			return nil, verdict.Unproven(fmt.Errorf("the fault does not last: %w", err))
		}
		p.CutAt[n] = CutMoment(losses)
	}
	return note(r, p, nil)
}

// seen checks the network with the probers: which pairs answer each other, and what
// gets through one way.
func (r *Run) seen(cut, open []probe.Pair, ways []probe.Way) error {
	if err := r.Probes.Proof(cut, open); err != nil {
		return err
	}
	return r.Probes.Ways(ways)
}

// Ends are the nodes that have lost a peer.
func (p *Partition) Ends() []string { return slices.Sorted(maps.Keys(p.CutAt)) }

// Lost are the peers that a node has lost, sorted.
func (p *Partition) Lost(node string) []string {
	peers := probe.PeersOf(node, p.Cut)
	slices.Sort(peers)
	return peers
}

// Losses are the peers that every node which was cut has lost.
func (p *Partition) Losses() map[string][]string {
	lost := map[string][]string{}
	for n := range p.CutAt {
		lost[n] = p.Lost(n)
	}
	return lost
}

// CutMoment returns when a node's partition began, given when it lost each of
// its peers, at least one, in order: with the second loss, since the loss of a single peer is
// not a partition. It is the earliest moment at which anybody could tell, and
// so the one that makes the node's reaction longest.
func CutMoment(losses []time.Time) time.Time {
	return losses[min(1, len(losses)-1)]
}

// Recognised returns how long after its cut each node had found its partition. Both are dated by one clock: the
// prober that tells of the cut is in the node's own pod.
func (p *Partition) Recognised(ctx context.Context) (verdict.Times, error) {
	found, err := p.Loop().Found(ctx)
	if err != nil {
		return nil, err
	}
	took := verdict.Times{}
	for n, i := range found {
		e, ok := journal.First(i.Entries, p.Window.Start, journal.Opened(metric.NetworkPartition))
		if !ok {
			return nil, verdict.Shortf("%s: incident %v never was a partition", n, i)
		}
		took[n] = e.Time.Sub(p.CutAt[n])
	}
	return took, nil
}

// Loop is what the nodes' loop is expected to do about the partition.
func (p *Partition) Loop() *Loop {
	return p.Expect(Loop{
		Incident: metric.NetworkPartition, About: p.Losses(), Symptoms: []string{event.PeerUnreachable},
		Actions: []string{metric.ActivateBackupRoutes, metric.ReverifySessions},
	})
}

// Rerouted returns how long after the loss of each peer each node had new routes for it, by the action that
// was done for it under the partition's own incident. A fault that is injected pod by pod cuts pairs
// seconds apart. One clock dates both, as for Recognised.
func (p *Partition) Rerouted(ctx context.Context) (verdict.Times, error) {
	found, err := p.Loop().Found(ctx)
	if err != nil {
		return nil, err
	}
	took := verdict.Times{}
	for n, i := range found {
		for _, peer := range p.Lost(n) {
			done, ok := journal.First(i.Entries, p.Window.Start, journal.All(journal.Done(metric.ActivateBackupRoutes), journal.About(peer)))
			if !ok {
				return nil, verdict.Shortf("%s has done no %s for %s under incident %v", n, metric.ActivateBackupRoutes, peer, i)
			}
			lost, err := p.lostAt(n, peer)
			if err != nil {
				return nil, verdict.Unproven(err)
			}
			took[n+"→"+peer] = done.Time.Sub(lost)
		}
	}
	return took, nil
}

// Routed returns how long after the loss of each peer Prometheus still had a route of the node whose next hop it
// was, and then how long the node took by Rerouted. That it has one yet is a shortfall. Prometheus dates scrapes,
// and the node's prober the loss.
func (p *Partition) Routed(ctx context.Context) (verdict.Times, error) {
	named := verdict.Times{}
	for n := range p.CutAt {
		for _, peer := range p.Lost(n) {
			w := p.Window
			var err error
			if w.Start, err = p.lostAt(n, peer); err != nil {
				return nil, verdict.Unproven(err)
			}
			seen, scraped, err := p.run.Prom.LastSeen(ctx, metric.RouteMetric, metric.LabelNextHop, w, n, metric.PeerStatus)
			if err != nil {
				return nil, err
			}
			took, gone := left(seen[peer], scraped, w.Start)
			if !gone {
				return nil, verdict.Shortf("%s still has routes whose next hop is %s, which it has lost", n, peer)
			}
			named[n+"→"+peer+" by metric"] = took
		}
	}
	took, err := p.Rerouted(ctx)
	if err != nil {
		return nil, err
	}
	maps.Copy(took, named)
	return took, nil
}

// left returns how long after a time something was last seen, and whether a later scrape has not seen it any more. What
// never was had gone at once.
func left(last, scraped, since time.Time) (took time.Duration, gone bool) {
	if last.IsZero() {
		return 0, true
	}
	return last.Sub(since), scraped.After(last)
}

// Reverified returns how long after the heal of each pair that was cut its session was
// verified again, at each end. The prober of either end may date the heal.
func (p *Partition) Reverified(ctx context.Context) (verdict.Times, error) {
	took := verdict.Times{}
	for n := range p.CutAt {
		entries, err := p.run.Journal(ctx, n)
		if err != nil {
			return nil, err
		}
		for _, peer := range p.Lost(n) {
			healed, err := p.healedAt(n, peer)
			if err != nil {
				return nil, verdict.Unproven(err)
			}
			verified := journal.All(journal.Kind(event.SessionVerified), journal.About(peer))
			e, ok := journal.First(entries, healed.Add(-ProbeSlack), verified)
			if !ok { // one of before that, in the cut, is too early for its cause
				e, ok = journal.Last(journal.Between(entries, p.cutSince(), healed), verified)
			}
			if !ok {
				return nil, verdict.Shortf("the journal of %s holds no verification of %s after the heal at %s, but %s",
					n, peer, healed.Format(time.RFC3339Nano), journal.Kinds(entries, healed))
			}
			took[n+"→"+peer] = e.Time.Sub(healed)
		}
	}
	return took, nil
}

// lostAt returns when a node lost a peer.
func (p *Partition) lostAt(node, peer string) (time.Time, error) {
	if p.Absent {
		return *p.Times.Injected, nil
	}
	return p.run.Probes.LostAt(node, peer, *p.Times.Proven)
}

// healedAt returns when two nodes that had lost each other were whole again: when the first of their probers had an
// answer of the other, which takes both directions. Either may have been kept from running just then.
func (p *Partition) healedAt(node, peer string) (time.Time, error) {
	if p.Absent {
		if p.Times.Recovered == nil {
			return time.Time{}, errors.New("the fault is not over")
		}
		return *p.Times.Recovered, nil
	}
	here, err := p.run.Probes.Healed(node, peer, p.cutSince())
	there, other := p.run.Probes.Healed(peer, node, p.cutSince())
	if err != nil || other == nil && there.Before(here) {
		return there, other
	}
	return here, nil
}

// cutSince is when each pair was cut for certain: before the proof, one may have been lost and heard again.
func (p *Partition) cutSince() time.Time { return *p.Times.Proven }

// FirstHeal is when the first of the pairs that were cut was whole again.
func (p *Partition) FirstHeal() (first time.Time, err error) {
	for n := range p.CutAt {
		for _, peer := range p.Lost(n) {
			at, err := p.healedAt(n, peer)
			if err != nil {
				return first, verdict.Unproven(err)
			}
			if first.IsZero() || at.Before(first) {
				first = at
			}
		}
	}
	return first, nil
}

// Gaps returns for each way that was cut how long at most nothing came through it, by
// relay, until an end that lies before the heal: first from the cut to the first frame, by
// the receiver's journal, and then between two frames, by its own account, or between two
// scrapes of its count of them, which also tells of a silence that has no end yet. Each is
// between two times of one clock.
func (p *Partition) Gaps(ctx context.Context, until time.Time) (verdict.Times, error) {
	gaps := verdict.Times{}
	for _, w := range p.Ways {
		entries, err := p.run.Journal(ctx, w.To)
		if err != nil {
			return nil, err
		}
		cut, err := p.lostAt(w.To, w.From)
		if err != nil {
			return nil, verdict.Unproven(err)
		}
		e, ok := journal.First(entries, cut, journal.All(journal.Kind(event.PeerRelayed), journal.About(w.From)))
		if !ok || e.Time.After(until) {
			return nil, verdict.Shortf("the journal of %s holds no frame of %s by relay in the cut since %s, but %s",
				w.To, w.From, cut.Format(time.RFC3339Nano), journal.Kinds(entries, cut))
		}
		window := p.Window
		window.Pods, window.Start, window.End = []string{w.To}, e.Time, until
		stalls, err := Read(ctx, p.run.Prom.Stall(metric.FramesByRelayTotal, prom.Labels{metric.LabelPeer: w.From}, window))
		if err != nil {
			return nil, err
		}
		told, err := Read(ctx, p.run.Prom.Spread(metric.RelayGapSeconds, prom.Labels{metric.LabelPeer: w.From}, window))
		if err != nil {
			return nil, err
		}
		gaps[w.From+"→"+w.To] = max(e.Time.Sub(cut), time.Duration(told[w.To].Most*float64(time.Second)), stalls[w.To])
	}
	return gaps, nil
}

// Watched is a cut that was watched until a time before its heal.
type Watched struct {
	Fixture string
	Cut     *Partition
	Until   time.Time
}

// GapsOf asks for the gaps of several cuts, whose ways are told apart by their fixtures.
func GapsOf(cuts []Watched) func(ctx context.Context) (verdict.Times, error) {
	return func(ctx context.Context) (verdict.Times, error) {
		gaps := verdict.Times{}
		for _, c := range cuts {
			found, err := c.Cut.Gaps(ctx, c.Until)
			if err != nil {
				return nil, err
			}
			for way, gap := range found {
				gaps[way+" by "+c.Fixture] = gap
			}
		}
		return gaps, nil
	}
}

// Watch waits until the cut has been watched for long enough to tell its gaps, which is
// three times the bar, and returns when that was.
func (p *Partition) Watch(ctx context.Context) (until time.Time, err error) {
	until = p.Times.Proven.Add(3 * BarGap)
	return until, awaitTime(ctx, until.Add(prom.ScrapeInterval))
}
