package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The faults of scenario 4: the document's, and the delay of a single node.
const (
	latencyFixture = "latency.yaml"
	slowFixture    = "latency-one-node.yaml"
)

var _ = describe(scenario.Scenario{
	Name: "latency", Title: "Scenario 4: latency injection", Takes: 90 * time.Second, Design: "4",
	Fixtures: []string{latencyFixture, slowFixture, linkFixture}, Probed: true,
	Opens: true, // when the delay begins every node plans for every link
}, func(sc *scenario.Scenario) {
	var s *scenario.Run
	var delay *scenario.Delay

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		observe(ctx, s, scenario.LeastObservations)
		delay = disturb(ctx, s, s.Delay, latencyFixture)
		AddReportEntry("who delays the packets, by pod", delay.Served)
	})

	criterion(sc, "S4.1", "the histogram of verification latency shifts right: growth of the median", "≥ 0.15 s", scenario.Reacts(), func(ctx SpecContext) {
		heal(ctx, delay.Episode)
		if len(delay.Shifted) == 0 {
			verdict.Invalidf("the delay slows too few links for the median of any node to tell")
		}
		verdict.Bar(metric.VerificationLatency, nil, "≥", scenario.BarLatencyShift.Seconds())
		verdict.AtLeast("growth of the median", ask(ctx, scenario.WaitAnswer, delay.Shift), scenario.BarLatencyShift.Seconds(), "s")
	})

	criterion(sc, "S4.2", "no verification times out, and each pair verifies at the baseline's rate", "0; ≥ 0.95", scenario.Upholds().Because("only the loop gives verifications more time"), func(ctx SpecContext) {
		heal(ctx, delay.Episode)
		verdict.Must(delay.AwaitTail(ctx)) // what was asked under the delay may run out after it
		verdict.Bar(metric.VerificationTimeouts, nil, "=", 0)
		timeouts := ask(ctx, scenario.WaitAnswer, s.Prom.Growth(metric.VerificationTimeouts, nil, delay.Tailed()))
		verdict.Equal("timeouts under the delay", timeouts, 0, "verifications")
		before := ask(ctx, scenario.WaitAnswer, s.VerifiedPairs(s.Baseline))
		under := ask(ctx, scenario.WaitAnswer, s.VerifiedPairs(delay.Bitten()))
		verdict.Must(s.EveryPair(before))
		before = scenario.Usual(before)
		pairs := scenario.Ratios(before, scenario.OneMore(under, delay.Bitten()))
		verdict.AtLeast("verifications of a pair per second against the baseline", pairs, scenario.BarVerified, "of the baseline")
		nodes := scenario.Ratios(scenario.ByNode(before), scenario.ByNode(under))
		verdict.AtLeast("verifications of a node per second against the baseline", nodes, scenario.BarVerified, "of the baseline")
	})

	loop(sc, func() *scenario.Loop { return delay.Loop() },
		cell{"the histogram has shifted, and round trips to each slow peer are longer by the bar", func(ctx context.Context) error { return delay.Measured(ctx) }},
		cell{"latency_slo names the affected routes", func(ctx context.Context) error { return delay.Named(ctx) }},
		cell{"extend_timeouts and update_route_weights are planned", nil},
		cell{"both are done, and can be read: deadlines are longer and weights lower", func(ctx context.Context) error { return delay.Adapted(ctx) }},
		cell{"the latency of each link is recorded as a pattern", func(ctx context.Context) error { return delay.Remembered(ctx) }})

	criterion(sc, "S4.3", "others' routes leave a slow relay, stay away while it is slow, and come back", within(scenario.BarPreferred), scenario.Heals(), func(ctx SpecContext) {
		heal(ctx, delay.Episode)
		verdict.Must(s.AwaitWell(ctx))
		// Nobody relays while every link is whole: one is cut, and then the relay that serves it is slowed down.
		link := disturb(ctx, s, s.LongPartition, linkFixture)
		a, b := link.Cut[0].A, link.Cut[0].B
		relays := ask(ctx, scenario.WaitSettle, func(ctx context.Context) (map[string]string, error) { return s.Relays(ctx, a, b) })
		relay := relays[a]
		slow := disturb(ctx, s, func(ctx context.Context, fixture string) (*scenario.Delay, error) {
			return s.DelayAt(ctx, fixture, relay)
		}, slowFixture)
		took := verdict.Reacted(ctx, "from the delay to routes that avoid "+relay, scenario.WaitAvoided, scenario.BarPreferred, slow.Avoided(link))
		verdict.Must(slow.StaysAway(ctx, link))
		verdict.Must(slow.End(ctx))
		verdict.EventuallyHolds(ctx, scenario.WaitSettle, func(ctx context.Context) error { return slow.Restored(ctx, a, b) })
		verdict.Must(link.End(ctx))
		verdict.Time("from the delay to routes that avoid "+relay, took, scenario.BarPreferred, 2*time.Second)
	})

	diagnosis(sc)
})
