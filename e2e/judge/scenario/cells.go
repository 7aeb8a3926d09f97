package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// What single cells of the design document's table name beyond the journal.

// Weights returns the present preference of each node's links: by node and peer, "a→b".
func (r *Run) Weights(ctx context.Context) (map[string]float64, error) {
	weights := map[string]float64{}
	for _, n := range r.Nodes {
		k, err := r.Knowledge(ctx, n)
		if err != nil {
			return nil, err
		}
		for peer, w := range k.Weights {
			weights[n+"→"+peer] = w
		}
	}
	return weights, nil
}

// Counted checks that each node that was cut counts exactly the peers that it lost as
// unreachable.
func (p *Partition) Counted(ctx context.Context) error {
	for n := range p.CutAt {
		w := p.Window
		w.Pods = []string{n}
		for _, peer := range p.run.Nodes {
			if peer == n {
				continue
			}
			grown, err := p.run.Prom.Growth(metric.PeerUnreachable, prom.Labels{metric.LabelPeer: peer}, w)(ctx)
			if err != nil {
				return err
			}
			if lost := slices.Contains(p.Lost(n), peer); lost != (grown[n] > 0) {
				return verdict.Shortf("%s counts %v losses of %s, which it has lost: %v", n, grown[n], peer, lost)
			}
		}
	}
	return nil
}

// Unverified checks that each node which was cut had as many unverified sessions at a time
// as it lost peers.
func (p *Partition) Unverified(ctx context.Context) error {
	w := p.Window
	w.Pods = p.Ends()
	w.End = w.Until(time.Now()).Add(Tail)
	if now := time.Now(); w.End.After(now) {
		w.End = now
	}
	seen, err := p.run.Prom.Spread(metric.Sessions, prom.Labels{metric.LabelState: metric.StateUnverified}, w)(ctx)
	if err != nil {
		return err
	}
	for _, n := range p.Ends() {
		if want := float64(len(p.Lost(n))); seen[n].Most < want {
			return verdict.Shortf("%s had at most %v unverified sessions, and lost %v peers", n, seen[n].Most, want)
		}
	}
	return nil
}

// Reweighted checks that each node which was cut prefers the links to the peers that it
// lost less than before, for some time, by its metric, and that its knowledge tells a weight for
// each.
func (p *Partition) Reweighted(ctx context.Context, before map[string]float64) error {
	for _, n := range p.Ends() {
		k, err := p.run.Knowledge(ctx, n)
		if err != nil {
			return err
		}
		for _, peer := range p.Lost(n) {
			if _, ok := k.Weights[peer]; !ok {
				return verdict.Shortf("%s does not tell the weight of its link with %s", n, peer)
			}
			w := p.Window
			w.Pods, w.End = []string{n}, time.Time{}
			seen, err := p.run.Prom.Spread(metric.LinkWeight, prom.Labels{metric.LabelPeer: peer}, w)(ctx)
			if err != nil {
				return err
			}
			if was, ok := before[n+"→"+peer]; !ok || seen[n].Least >= was {
				return verdict.Shortf("%s preferred its link with %s as before: least weight %v, before %v", n, peer, seen[n].Least, was)
			}
		}
	}
	return nil
}

// Counted checks that each node that sees the attack counts failed verifications.
func (a *Attack) Counted(ctx context.Context) error {
	failed, err := a.run.Prom.Growth(metric.VerificationsFailed, nil, a.Seen())(ctx)
	if err != nil {
		return err
	}
	for n, f := range failed {
		if f == 0 {
			return verdict.Shortf("%s counts no failed verification", n)
		}
	}
	return nil
}

// Named checks that each node's high failure rate names a session in which a signature of the suspect had failed
// there before.
func (a *Attack) Named(ctx context.Context) error {
	logs, err := a.run.Journals(ctx, a.Seers)
	if err != nil {
		return err
	}
	return a.Loop().each(ctx, func(n string, i journal.Incident) error { return names(n, i, a.Suspect, logs[n]) })
}

// names checks that an incident of a node names, when it is found, a session of the suspect's that failed.
func names(node string, i journal.Incident, suspect string, entries []event.Entry) error {
	session := ""
	for _, e := range i.Entries {
		if e.Phase == event.Analyze && session == "" {
			session = e.Detail[event.DetailSession]
		}
	}
	if session == "" {
		return verdict.Shortf("%s names no session in incident %v", node, i)
	}
	if _, ok := journal.First(entries, time.Time{}, func(e event.Entry) bool {
		return failed(suspect)(e) && e.Detail[event.DetailSession] == session && !e.Time.After(i.Opened)
	}); !ok {
		return verdict.Shortf("%s names session %s in incident %v, in which no signature of %s had failed", node, session, i, suspect)
	}
	return nil
}

// Remembered checks that each node that sees the attack keeps the suspect in its list of
// threats, with what it did.
func (a *Attack) Remembered(ctx context.Context) error {
	for _, n := range a.Seers {
		k, err := a.run.Knowledge(ctx, n)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(k.Threats, func(t api.Threat) bool { return t.Peer == a.Suspect })
		if i < 0 {
			return verdict.Shortf("the threats of %s are %v, without %s", n, k.Threats, a.Suspect)
		}
		if t := k.Threats[i]; t.Type == "" || t.Count < invalidateAfter || !t.Last.After(t.First) {
			return verdict.Shortf("%s knows no pattern of %s: %+v", n, a.Suspect, t)
		}
	}
	return nil
}

// Unharmed checks that every session between others than the suspect is the one that it was before.
func (a *Attack) Unharmed(ctx context.Context, before map[string]string) error {
	after, err := Read(ctx, a.run.AllSessions)
	if err != nil {
		return err
	}
	return Kept(a.innocent(before), a.innocent(after))
}

// innocent are the sessions that the suspect is no end of.
func (a *Attack) innocent(ids map[string]string) map[string]string {
	innocent := map[string]string{}
	for way, id := range ids {
		if from, to, _ := strings.Cut(way, "→"); from != a.Suspect && to != a.Suspect {
			innocent[way] = id
		}
	}
	return innocent
}

// Unexplained names the nodes that count more invalidations than their journals tell of the
// suspect: what they did to others.
func (a *Attack) Unexplained(ctx context.Context) ([]string, error) {
	w := a.Tailed()
	w.Pods = slices.DeleteFunc(slices.Clone(a.run.Nodes), func(n string) bool { return n == a.Suspect })
	counted, err := Read(ctx, a.run.Prom.Growth(metric.SessionsInvalidatedTotal, nil, w))
	if err != nil {
		return nil, err
	}
	logs, err := a.run.Journals(ctx, w.Pods)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, n := range w.Pods {
		told := 0.0
		for _, e := range journal.Between(logs[n], w.Start, w.End) {
			if journal.Done(metric.InvalidateSession)(e) && e.Subject == a.Suspect {
				told++
			}
		}
		if counted[n] > told {
			found = append(found, fmt.Sprintf("%s counts %v invalidations, its journal tells %v of %s", n, counted[n], told, a.Suspect))
		}
	}
	return found, nil
}

// AllSessions returns the id of every session, as each end tells it: "a→b".
func (r *Run) AllSessions(ctx context.Context) (map[string]string, error) {
	ids := map[string]string{}
	for _, n := range r.Nodes {
		s, err := r.Status(ctx, n)
		if err != nil {
			return nil, err
		}
		for _, p := range s.Peers {
			if slices.Contains(r.Nodes, p.Name) {
				ids[n+"→"+p.Name] = p.SessionID
			}
		}
	}
	return ids, nil
}

// Kept checks that every session is still the one that it was.
func Kept(before, after map[string]string) error {
	if len(before) == 0 {
		return verdict.Unproven(errors.New("no session was known before"))
	}
	var lost []string
	for way, id := range before {
		if id == "" {
			return verdict.Unproven(fmt.Errorf("%s: no session was known before", way))
		}
		if after[way] != id {
			lost = append(lost, way)
		}
	}
	if len(lost) > 0 {
		slices.Sort(lost)
		return verdict.Shortf("other sessions than before: %s", strings.Join(lost, ", "))
	}
	return nil
}

// Available checks that each survivor's availability of the victim has fallen.
func (c *Crash) Available(ctx context.Context) error {
	w := c.Window
	w.Pods, w.End = c.Survivors, time.Time{}
	seen, err := c.run.Prom.Spread(metric.PeerAvailability, prom.Labels{metric.LabelPeer: c.Victim}, w)(ctx)
	if err != nil {
		return err
	}
	for n, r := range seen {
		if r.Least >= 1 || r.Least == r.Most {
			return verdict.Shortf("%s has the availability of %s at %v, as if nothing had been", n, c.Victim, r.Least)
		}
	}
	return nil
}

// VerifiedPairs returns a question: how often a second was an attestation of each peer
// good, at each node of the mesh, in a window?
func (r *Run) VerifiedPairs(w prom.Window) func(context.Context) (map[string]float64, error) {
	return r.Prom.RateBy(metric.LabelPeer, metric.PeerVerificationsTotal, nil, w)
}

// OneMore grants each rate of a pair one verification more in its window: a pair verifies
// about once a second, and it is chance on which side of the window's edge the last one
// falls. In a window of 20 s that is as much as the bar leaves; so the sums by node, of
// which it is little, are judged without it.
func OneMore(rates map[string]float64, w prom.Window) map[string]float64 {
	granted := map[string]float64{}
	for pair, r := range rates {
		granted[pair] = r + 1/w.End.Sub(w.Start).Seconds()
	}
	return granted
}

// Usual caps each rate of a pair at what half of all pairs have: all verify as often, and in a short baseline one verification
// that fell on this side of an edge by chance makes more of a rate than the bar leaves.
func Usual(rates map[string]float64) map[string]float64 {
	all := slices.Sorted(maps.Values(rates))
	usual := map[string]float64{}
	for pair, r := range rates {
		usual[pair] = min(r, all[(len(all)-1)/2])
	}
	return usual
}

// ByNode adds up the rates of pairs, "a→b", by the node that verifies, a.
func ByNode(rates map[string]float64) map[string]float64 {
	sums := map[string]float64{}
	for pair, r := range rates {
		node, _, _ := strings.Cut(pair, "→")
		sums[node] += r
	}
	return sums
}

// EveryPair checks that something is known of each node and each of its peers.
func (r *Run) EveryPair(known map[string]float64) error {
	for _, a := range r.Nodes {
		for _, b := range r.Nodes {
			if a != b && known[a+"→"+b] <= 0 {
				return verdict.Unproven(fmt.Errorf("no verification of %s by %s without a fault: nothing to compare with", b, a))
			}
		}
	}
	return nil
}

// Loop is what the nodes' loop is expected to do about the delay.
func (d *Delay) Loop() *Loop {
	about := map[string][]string{}
	for _, n := range d.run.Nodes {
		for _, peer := range d.run.Nodes {
			if n != peer && (slices.Contains(d.Slow, n) || slices.Contains(d.Slow, peer)) {
				about[n] = append(about[n], peer)
			}
		}
	}
	return d.Expect(Loop{
		Incident: metric.LatencySLO, About: about, Symptoms: []string{event.LatencyHigh},
		Actions: []string{metric.ExtendTimeouts, metric.UpdateRouteWeights},
	})
}

// Measured checks that the round trips which each node measures to each slow peer grew by the bar, in the median, and
// so did the verifications where most links are slow.
func (d *Delay) Measured(ctx context.Context) error {
	err := d.compared(ctx, metric.RTTSeconds, func(of string, before, under prom.Range) error {
		if grown := under.Median - before.Median; grown < BarLatencyShift.Seconds() {
			return verdict.Shortf("the round trips %s that it measures grew by %.3f s in the median, from %.3f s", of, grown, before.Median)
		}
		return nil
	})
	if err != nil || len(d.Shifted) == 0 {
		return err
	}
	shift, err := d.Shift(ctx)
	if err != nil {
		return err
	}
	for n, grown := range shift {
		if grown < BarLatencyShift.Seconds() {
			return verdict.Shortf("the histogram of %s shifted by %.3f s", n, grown)
		}
	}
	return nil
}

// Shift returns by how much the median of the histogram of verification latency grew under the delay, in each node where most
// links are slow.
func (d *Delay) Shift(ctx context.Context) (map[string]float64, error) {
	const median = 0.5
	baseline, window := d.run.Baseline, d.Bitten()
	baseline.Pods, window.Pods = d.Shifted, d.Shifted
	before, err := d.run.Prom.Quantile(median, metric.VerificationLatency, nil, baseline)(ctx)
	if err != nil {
		return nil, err
	}
	under, err := d.run.Prom.Quantile(median, metric.VerificationLatency, nil, window)(ctx)
	return Differences(before, under), err
}

// Adapted checks that each node gave challenges of each slow peer more time than before, by the bar at least, in the
// median, and its routes over it less weight.
func (d *Delay) Adapted(ctx context.Context) error {
	err := d.compared(ctx, metric.VerificationDeadline, func(of string, before, under prom.Range) error {
		if under.Median < before.Median+BarLatencyShift.Seconds() {
			return verdict.Shortf("challenges %s had %.3f s in the median, and %.3f s before", of, under.Median, before.Median)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.compared(ctx, metric.LinkWeight, func(of string, before, under prom.Range) error {
		if under.Least >= before.Median {
			return verdict.Shortf("the link %s had the weight that it had before, %.2f, all the time", of, before.Median)
		}
		return nil
	})
}

// compared checks what each node had of each slow peer without the delay against what it had under it.
func (d *Delay) compared(ctx context.Context, gauge string, check func(of string, before, under prom.Range) error) error {
	for n, peers := range d.Loop().About {
		baseline, window := d.run.Baseline, d.While()
		baseline.Pods, window.Pods = []string{n}, []string{n}
		for _, peer := range peers {
			of := prom.Labels{metric.LabelPeer: peer}
			before, err := d.run.Prom.Spread(gauge, of, baseline)(ctx)
			if err != nil {
				return err
			}
			under, err := d.run.Prom.Spread(gauge, of, window)(ctx)
			if err != nil {
				return err
			}
			if err := check("of "+n+" to "+peer, before[n], under[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Named checks that each node's incident names the routes that are affected: those to the
// slow peers at least.
func (d *Delay) Named(ctx context.Context) error {
	l := d.Loop()
	return l.each(ctx, func(n string, i journal.Incident) error {
		var routes []string
		for _, e := range i.Entries {
			routes = append(routes, strings.Split(e.Detail[event.DetailRoutes], ",")...)
		}
		for _, peer := range l.About[n] {
			if !slices.Contains(routes, peer) {
				return verdict.Shortf("%s names the routes %v in incident %v, without the one to %s", n, routes, i, peer)
			}
		}
		return nil
	})
}

// Remembered checks that each node keeps a pattern of latency for its link with each slow
// peer, which is slower in the episode than typically.
func (d *Delay) Remembered(ctx context.Context) error {
	for n, peers := range d.Loop().About {
		k, err := d.run.Knowledge(ctx, n)
		if err != nil {
			return err
		}
		for _, peer := range peers {
			i := slices.IndexFunc(k.Latency, func(p api.LatencyPattern) bool { return p.Peer == peer })
			if i < 0 || k.Latency[i].Count == 0 || k.Latency[i].EpisodeSeconds <= k.Latency[i].TypicalSeconds {
				return verdict.Shortf("%s remembers no slow episode of its link with %s: %+v", n, peer, k.Latency)
			}
		}
	}
	return nil
}

// spikes are the victim's own metrics of which each must rise under the stress.
var spikes = []string{metric.NodeCPU, metric.NodeMemory}

// Spiked checks that the victim's own metrics of CPU and memory rose, and one of those of
// its latency: waiting for a core, or its loop coming late.
func (s *Stress) Spiked(ctx context.Context) error {
	for _, m := range spikes {
		risen, err := s.risen(ctx, m)
		if err != nil {
			return err
		}
		if !risen {
			return verdict.Shortf("%s of %s did not rise", m, s.Victim)
		}
	}
	for _, m := range []string{metric.NodeQueueSeconds, metric.NodeLagSeconds} {
		if risen, err := s.risen(ctx, m); err != nil || risen {
			return err
		}
	}
	return verdict.Shortf("neither %s nor %s of %s rose", metric.NodeQueueSeconds, metric.NodeLagSeconds, s.Victim)
}

// risen reports whether a gauge of the victim rose under the stress.
func (s *Stress) risen(ctx context.Context, gauge string) (bool, error) {
	before, err := s.run.Prom.Spread(gauge, nil, s.Only(s.run.Baseline))(ctx)
	if err != nil {
		return false, err
	}
	under, err := s.run.Prom.Spread(gauge, nil, s.Only(s.Bitten()))(ctx)
	return spiked(before[s.Victim], under[s.Victim]), err
}

// spike is how many times as much a gauge is under a stress, at least.
const spike = 2

// spiked compares medians: a node that has just begun, or one neighbour's burst, makes a
// single value that no stress reaches.
func spiked(before, under prom.Range) bool {
	return under.Median > 0 && under.Median >= spike*before.Median
}

// Named checks that the victim's incident names what ran short: something that the stressors take.
func (s *Stress) Named(ctx context.Context) error {
	return s.Loop().each(ctx, func(n string, i journal.Incident) error {
		for _, e := range i.Entries {
			if of := e.Detail[event.DetailResource]; e.Phase == event.Analyze && slices.Contains(s.Resources, of) {
				return nil
			}
		}
		return verdict.Shortf("%s names in incident %v none of what the stressors take: %s", n, i, strings.Join(s.Resources, ", "))
	})
}

// Recommended checks that the victim recommends what its pod should request.
func (s *Stress) Recommended(ctx context.Context) error {
	k, err := s.run.Knowledge(ctx, s.Victim)
	if err != nil {
		return err
	}
	r := k.Recommendation
	if r == nil || r.CPU == "" && r.Memory == "" || r.Reason == "" || r.Incidents == 0 {
		return verdict.Shortf("%s recommends nothing: %+v", s.Victim, r)
	}
	return nil
}
