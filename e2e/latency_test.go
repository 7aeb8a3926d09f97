package e2e

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The faults of scenario 4: the document's, and the delay of a single node.
const (
	latencyFixture = "latency.yaml"
	slowFixture    = "latency-one-node.yaml"
)

const median = 0.5

var _ = Describe("Scenario 4: latency injection", Ordered, ContinueOnFailure, Label("latency"), func() {
	var s *scenario.Run
	var delay *scenario.Delay

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, "latency")
		observe(ctx, s, scenario.LeastObservations)
		delay = disturb(ctx, s, s.Delay, latencyFixture)
		AddReportEntry("who delays the packets, by pod", delay.Served)
	})

	AfterEach(note)

	It("S4.1 the latency histogram shifts right", Label("S4.1"), func(ctx SpecContext) {
		heal(ctx, delay.Episode)
		before, err := s.Prom.Quantile(median, metric.VerificationLatency, nil, s.Baseline)(ctx)
		verdict.Must(err)
		under, err := s.Prom.Quantile(median, metric.VerificationLatency, nil, delay.Window)(ctx)
		verdict.Must(err)
		verdict.AtLeast("growth of the median", scenario.Differences(before, under), scenario.BarLatencyShift.Seconds(), "s")
	})

	It("S4.2 no verification times out", Label("S4.2"), func(ctx SpecContext) {
		heal(ctx, delay.Episode)
		timeouts, err := s.Prom.Growth(metric.VerificationTimeouts, nil, delay.Window)(ctx)
		verdict.Must(err)
		verdict.Equal("timeouts under the delay", timeouts, float64(scenario.BarTimeouts), "verifications")
	})

	It("S4.3 route preference follows latency", Label("S4.3"), func(ctx SpecContext) {
		heal(ctx, delay.Episode)
		verdict.Must(s.AwaitWell(ctx))
		// Nobody relays while every link is whole: one is cut, and then the relay that serves it is slowed down.
		link := disturb(ctx, s, s.Partition, linkFixture)
		a, b := link.Cut[0].A, link.Cut[0].B
		var relays map[string]string
		eventually(ctx, func(ctx context.Context) (map[string]string, error) {
			var err error
			relays, err = s.Detour(ctx, a, b)
			return relays, err
		}).WithTimeout(scenario.WaitSettle).Should(HaveLen(2), "%s and %s reach each other through a relay", a, b)
		relay := relays[a]
		slow := disturb(ctx, s, func(ctx context.Context, fixture string) (*scenario.Delay, error) {
			return s.DelayAt(ctx, fixture, relay)
		}, slowFixture)
		took, err := slow.Avoided(ctx, a, b)
		verdict.Must(err)
		verdict.Time("from the delay to routes that avoid "+relay, took, scenario.BarPreferred)
		verdict.Must(slow.End(ctx))
		verdict.Must(link.End(ctx))
	})

	It("F1 nothing is left behind", Label("F1"), func(ctx SpecContext) { judgeLeftBehind(ctx, s) })
})
