package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The faults of scenario 1: the document's, and the cut of a single link, both ways and
// one way.
const (
	partitionFixture = "network-partition.yaml"
	linkFixture      = "network-partition-link.yaml"
	onewayFixture    = "network-partition-oneway.yaml"
)

var _ = describe(scenario.Scenario{
	Name: "network-partition", Title: "Scenario 1: network partition", Takes: 100 * time.Second, Design: "1",
	Fixtures: []string{partitionFixture, linkFixture, onewayFixture}, Probed: true,
}, func(sc *scenario.Scenario) {
	var s *scenario.Run
	var split *scenario.Partition
	var weights map[string]float64

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		var err error
		weights, err = s.Weights(ctx)
		verdict.Must(err)
		split = disturb(ctx, s, s.Partition, partitionFixture)
	})

	criterion(sc, "S1.2", "every node has new routes for every peer that it lost, under the partition's own incident", within(scenario.BarRerouted), scenario.Heals(), func(ctx SpecContext) {
		const what = "from the cut to new routes for a lost peer"
		took := verdict.Reacted(ctx, what, scenario.WaitScraped, scenario.BarRerouted, split.Routed)
		apart := ask(ctx, scenario.WaitAnswer, s.Apart(append(split.Ends(), scenario.ClockOfPrometheus)...))
		verdict.Time(what, took, scenario.BarRerouted, scenario.ProbeSlack+apart)
	})

	// Once the partition is over, that a node recognised it is told by more than one
	// incident of it: so this is judged with the tail.
	criterion(sc, "S1.1", "every node that is cut recognises one partition, of all the peers that it lost", within(scenario.BarRecognised), scenario.Reacts(), func(ctx SpecContext) {
		heal(ctx, split.Episode)
		verdict.Must(split.AwaitTail(ctx))
		window := split.Tailed()
		window.Pods = split.Ends()
		partitions := prom.Labels{metric.LabelType: metric.NetworkPartition}
		verdict.Bar(metric.AnomaliesDetected, partitions, "=", 1)
		once := counts(s.Prom.Growth(metric.AnomaliesDetected, partitions, window), BeNumerically("==", 1))
		verdict.React(ctx, "from the second loss to the incident", scenario.WaitScraped, scenario.BarRecognised, scenario.ProbeSlack,
			after(once, split.Recognised))
	})

	criterion(sc, "S1.4", "the session of every pair that was cut is verified again, from the pair's own heal", within(scenario.BarSessionsBack), scenario.Heals(), func(ctx SpecContext) {
		heal(ctx, split.Episode)
		slack := scenario.ProbeSlack + ask(ctx, scenario.WaitAnswer, s.Apart(split.Ends()...))
		verdict.React(ctx, "from a pair's heal to its verified session", scenario.WaitSettle, scenario.BarSessionsBack, slack,
			after(s.SessionsVerified, split.Reverified))
	})

	criterion(sc, "S1.3", "both sides acknowledge writes in the cut; each is on every node after it, once, with its content", "0", scenario.Holds(), func(ctx SpecContext) {
		heal(ctx, split.Episode)
		ops, err := s.Operations(ctx)
		verdict.Must(err)
		proven := *split.Times.Proven
		recovered, err := split.FirstHeal() // what was acknowledged after it was not in the cut
		verdict.Must(err)
		apart := ask(ctx, scenario.WaitAnswer, s.Apart(append(split.Ends(), scenario.ClockOfClients)...))
		for node := range split.CutAt {
			t := verify.Writes(ops, proven.Add(apart), recovered.Add(-apart))[node]
			if t.Tried == 0 {
				verdict.Invalidf("nobody wrote to %s during the cut (%v): too little traffic", node, recovered.Sub(proven).Round(time.Second))
			}
			if t.Acknowledged == 0 {
				verdict.Must(verdict.Shortf("%s was not writable during the cut: %d writes tried", node, t.Tried))
			}
		}
		judgeRecords(ctx, s)
	})

	loop(sc, func() *scenario.Loop { return split.Loop() },
		cell{"unreachable peers are counted, exactly those that are cut", func(ctx context.Context) error { return split.Counted(ctx) }},
		cell{"the lost peers are one network_partition", nil},
		cell{"activate_backup_routes and reverify_sessions are planned under it", nil},
		cell{"both are done, and the sessions concerned were unverified until then", func(ctx context.Context) error { return split.Unverified(ctx) }},
		cell{"the partition is recorded with its peers and duration, and links' weights have changed", func(ctx context.Context) error {
			return split.Reweighted(ctx, weights)
		}})

	criterion(sc, "S1.5", "a cut link is routed around, both ways and one way: the longest time without a frame", within(scenario.BarGap), scenario.Heals(), func(ctx SpecContext) {
		heal(ctx, split.Episode)
		// Both are cut before either is judged: S1.X is about both, whatever becomes of the first.
		var cuts []scenario.Watched
		for _, fixture := range []string{linkFixture, onewayFixture} {
			verdict.Must(s.AwaitWell(ctx))
			cut := disturb(ctx, s, s.Partition, fixture)
			until, err := cut.Watch(ctx)
			verdict.Must(err)
			verdict.Must(cut.End(ctx))
			cuts = append(cuts, scenario.Watched{Fixture: fixture, Cut: cut, Until: until})
		}
		verdict.React(ctx, "without a frame", scenario.WaitScraped, scenario.BarGap, scenario.ProbeSlack, scenario.GapsOf(cuts))
	})

	criterion(sc, "A2", "MeshNodeUnreachable fires in the partition and resolves after it", "yes", scenario.Reacts(), func(ctx SpecContext) {
		heal(ctx, split.Episode)
		judgeAlert(ctx, s, alert.NodeUnreachable, split.Episode, alert.Resolved)
	})

	criterion(sc, "D1", "every panel of the dashboard shows numbers for every node", "0 blank", scenario.Reacts().Because("panels of faults and incidents have numbers only where there was one"), func(ctx SpecContext) {
		heal(ctx, split.Episode)
		verdict.Must(split.AwaitTail(ctx)) // recoveries are counted after the heal
		judgeDashboard(ctx, s, split.Tailed())
	})

	diagnosis(sc)
})
