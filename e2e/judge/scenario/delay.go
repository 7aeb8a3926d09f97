package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/netem"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/probe"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// prompt is the longest round trip between pods that are not delayed.
const prompt = 100 * time.Millisecond

// Delay is a delay of the network under way.
type Delay struct {
	*Episode
	// Slow are the pods whose packets are delayed.
	Slow []string
	// Shifted are the nodes whose round trips are mostly slow: a median shifts there, and
	// nowhere else.
	Shifted []string
	// Served tells by pod who delays them: the kernel's sch_netem, or the
	// stand-in in userspace.
	Served map[string]string
}

// Delay delays packets by a fixture and proves from outside that every round
// trip with delayed packets takes as long as the fixture says, and no other does.
func (r *Run) Delay(ctx context.Context, fixture string) (*Delay, error) {
	o, err := r.load(fixture)
	if err != nil {
		return nil, err
	}
	return r.delay(ctx, o)
}

// DelayAt is Delay at one pod, whichever the fixture names.
func (r *Run) DelayAt(ctx context.Context, fixture, pod string) (*Delay, error) {
	o, err := r.load(fixture)
	if err != nil {
		return nil, err
	}
	if err := fault.Aim(o, pod); err != nil {
		return nil, err
	}
	return r.delay(ctx, o)
}

func (r *Run) delay(ctx context.Context, o fault.Object) (*Delay, error) {
	least, err := leastDelay(o)
	if err != nil {
		return nil, err
	}
	d, all := &Delay{}, r.reached()
	d.Episode, err = r.inject(ctx, o, func(e *Episode) proof {
		source, target := e.injection.Sides() // where the mode leaves the choice to Chaos Mesh, too
		ways, err := fault.Directions(o, source, target, r.Nodes)
		trips := roundTrips(ways, all, least)
		if err == nil && len(trips[0]) == len(all) {
			err = fmt.Errorf("%s delays no pair that can be probed", o.GetName())
		}
		d.Slow, d.Shifted = senders(ways), fault.Mostly(ways, r.Nodes)
		return proof{
			bites: func(context.Context) error {
				if err != nil {
					return err
				}
				for least, pairs := range trips {
					most := prompt
					if least > 0 {
						most = time.Minute
					}
					if err := r.Probes.RoundTrips(pairs, least, most); err != nil {
						return err
					}
				}
				return nil
			},
			over: func(context.Context) error { return r.Probes.RoundTrips(all, 0, prompt) },
		}
	})
	if err != nil {
		return nil, err
	}
	if !d.Absent {
		d.Served, err = r.netem(ctx, d.Slow)
	}
	return note(r, d, verdict.Unproven(err))
}

// roundTrips returns the pairs by how long a round trip takes at least: one delay for each
// direction that is delayed.
func roundTrips(ways []fault.Direction, pairs []probe.Pair, delay time.Duration) map[time.Duration][]probe.Pair {
	times := map[probe.Pair]int{}
	for _, w := range ways {
		times[probe.NewPair(w.From, w.To)]++
	}
	trips := map[time.Duration][]probe.Pair{}
	for _, p := range pairs {
		least := time.Duration(times[p]) * delay
		trips[least] = append(trips[least], p)
	}
	return trips
}

// senders returns whose packets are delayed, sorted.
func senders(ways []fault.Direction) []string {
	var names []string
	for _, w := range ways {
		names = append(names, w.From)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// netem asks who serves netem in pods.
func (r *Run) netem(ctx context.Context, names []string) (map[string]string, error) {
	served := map[string]string{}
	for _, p := range r.pods {
		if !slices.Contains(names, p.Name) {
			continue
		}
		x := r.env.Client.Resources()
		out, err := fault.OnNodeOf(ctx, x.GetControllerRuntimeClient(), x, p, netem.ServerScript)
		if err != nil {
			return nil, fmt.Errorf("who delays the packets of %s: %w", p.Name, err)
		}
		if served[p.Name], err = netem.Server(out); err != nil {
			return nil, fmt.Errorf("pod %s: %w", p.Name, err)
		}
	}
	return served, nil
}

// reached are the pairs that no partition under way cuts.
func (r *Run) reached() []probe.Pair {
	return slices.DeleteFunc(probe.All(r.Nodes), func(p probe.Pair) bool { return r.Probes.Proof([]probe.Pair{p}, nil) == nil })
}

// leastDelay is what a delayed packet is late by at least.
func leastDelay(o fault.Object) (time.Duration, error) {
	n, ok := o.(*v1alpha1.NetworkChaos)
	if !ok || n.Spec.Delay == nil {
		return 0, fmt.Errorf("%T %s delays nothing", o, o.GetName())
	}
	latency, err := time.ParseDuration(n.Spec.Delay.Latency)
	if err != nil || n.Spec.Delay.Jitter == "" {
		return latency, err
	}
	jitter, err := time.ParseDuration(n.Spec.Delay.Jitter)
	return latency - jitter, err
}

// Avoided returns a question to be asked until it has an answer: how long did the routes to
// each other of two nodes whose link is cut take, from the proof of the delay, to lead through
// none of the slow pods any more? The time between two scrapes is part of it, and all of it is by
// this machine's clock.
func (d *Delay) Avoided(cut *Partition) func(context.Context) (verdict.Times, error) {
	took := verdict.Times{}
	a, b := cut.Cut[0].A, cut.Cut[0].B
	return func(ctx context.Context) (verdict.Times, error) {
		detours, err := d.run.Detour(ctx, a, b)
		if err != nil {
			return nil, err
		}
		for _, end := range []string{a, b} {
			hop, known := detours[end]
			switch {
			case took[end] > 0:
			case known && !slices.Contains(d.Slow, hop):
				took[end] = time.Since(*d.Times.Proven)
			case !known: // a cut that is over needs no relay
				return nil, orOver(ctx, cut, verdict.Shortf("%s reaches the other end through no relay", end))
			default:
				return nil, verdict.Shortf("%s still goes through %q after %v", end, hop, time.Since(*d.Times.Proven).Round(time.Second))
			}
		}
		return took, nil
	}
}

// Routed checks through which node each of two nodes reaches the other now: through slow
// ones, or through none of them.
func (d *Delay) Routed(ctx context.Context, a, b string, slow bool) error {
	detours, err := d.run.Detour(ctx, a, b)
	if err != nil {
		return err
	}
	for _, end := range []string{a, b} {
		hop, known := detours[end]
		if !known {
			return verdict.Shortf("%s reaches the other end through no relay", end)
		}
		if slices.Contains(d.Slow, hop) != slow {
			return verdict.Shortf("%s goes through %s", end, hop)
		}
	}
	return nil
}

// StaysAway watches for a tail, while the nodes are slow and a link is cut, that the routes
// of its ends to each other do not come back to them.
func (d *Delay) StaysAway(ctx context.Context, cut *Partition) error {
	a, b := cut.Cut[0].A, cut.Cut[0].B
	for end := time.Now().Add(Tail); time.Now().Before(end); {
		if _, err := Read(ctx, func(ctx context.Context) (bool, error) { return true, d.Routed(ctx, a, b, false) }); err != nil {
			return orOver(ctx, cut, err)
		}
		if err := awaitTime(ctx, time.Now().Add(prom.ScrapeInterval)); err != nil {
			return err
		}
	}
	return nil
}

// orOver returns what is wrong beside a cut, which is nothing if the cut is over.
func orOver(ctx context.Context, cut *Partition, wrong error) error {
	if err := cut.stands(ctx); err != nil {
		return err
	}
	return wrong
}

// Restored checks that two nodes may go through the nodes that were slow again: their
// links to them have their full weight, as the ends' metrics tell. Which of several equal
// relays serves is chance.
func (d *Delay) Restored(ctx context.Context, a, b string) error {
	for _, end := range []string{a, b} {
		for _, slow := range d.Slow {
			weight, err := d.run.Prom.Now(metric.LinkWeight, prom.Labels{metric.LabelPeer: slow}, d.run.Mesh.Namespace, []string{end})(ctx)
			if err != nil {
				return err
			}
			if weight[end] < 1 {
				return verdict.Shortf("%s still gives its link with %s the weight %v", end, slow, weight[end])
			}
		}
	}
	return nil
}

// Relays returns through which other nodes two nodes reach each other: that they do not is
// a shortfall.
func (r *Run) Relays(ctx context.Context, a, b string) (map[string]string, error) {
	relays, err := r.Detour(ctx, a, b)
	if err == nil && len(relays) != 2 {
		err = verdict.Shortf("%s and %s do not reach each other through relays: %v", a, b, relays)
	}
	return relays, err
}

// Detour returns through which other nodes each of two nodes reaches the other
// by Prometheus; a node that reaches it straight, or not at all, is not in it.
func (r *Run) Detour(ctx context.Context, a, b string) (map[string]string, error) {
	detours := map[string]string{}
	for _, end := range [][2]string{{a, b}, {b, a}} {
		hops, err := r.Prom.Values(ctx, metric.RouteMetric, metric.LabelNextHop, prom.Labels{metric.LabelDestination: end[1]},
			r.Mesh.Namespace, end[0], metric.PeerStatus)
		if err != nil {
			return nil, err
		}
		if len(hops) == 1 && hops[0] != end[1] {
			detours[end[0]] = hops[0]
		}
	}
	return detours, nil
}
