package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

const stressFixture = "resource-stress.yaml"

var _ = describe(scenario.Scenario{
	Name: "resource-stress", Title: "Scenario 5: resource exhaustion", Takes: 80 * time.Second, Design: "5",
	Fixtures: []string{stressFixture},
	Alone:    true,
	// Nodes attest each other beyond what keeps sessions verified: the low-priority
	// work that a node in need can shed.
	NodeArgs: []string{"--reattest-interval=500ms"},
}, func(sc *scenario.Scenario) {
	var s *scenario.Run
	var stress *scenario.Stress

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		observe(ctx, s, scenario.LeastCompared)
		stress = disturb(ctx, s, s.Stress, stressFixture)
	})

	criterion(sc, "S5.1", "the victim asks for more nodes, and then the autoscaler wants more", within(scenario.BarScaledUp), scenario.Heals().Because("that the node asks is part of it, whatever the autoscaler sees by itself"), func(ctx SpecContext) {
		took := verdict.Reacted(ctx, "from the stress to more replicas", scenario.WaitScaleUp, scenario.BarScaledUp, stress.ScaledUp)
		verdict.Bar(metric.ScaleRequestsTotal, nil, "≥", 1)
		asked := ask(ctx, scenario.WaitScraped, stress.Requested)
		verdict.AtLeast("requests for more nodes before the autoscaler wanted them", asked, 1, "requests")
		verdict.Time("from the stress to more replicas", took, scenario.BarScaledUp, 0)
	})

	criterion(sc, "S5.2", "critical verifications go on, per expected peer, while low priority is shed", "≥ 1 shed; ≥ 0.95", scenario.Heals().Because("that low priority is shed is part of it"), func(ctx SpecContext) {
		verdict.Must(stress.Observe(ctx))
		outlast(ctx, stress)
		window := stress.While()
		before, err := stress.Verified(ctx, s.Baseline)
		verdict.Must(err)
		before = scenario.Usual(before)
		under, err := stress.Verified(ctx, window)
		verdict.Must(err)
		// What matters first: that nothing is shed is no reason not to look at it.
		upheld := map[string]float64{stress.Victim: scenario.Upheld(before, scenario.OneMore(under, window))}
		verdict.AtLeast("critical verifications per second and expected peer against the baseline", upheld, scenario.BarVerified, "of the baseline")
		low := prom.Labels{metric.LabelPriority: metric.PriorityLow}
		verdict.Bar(metric.VerificationsShed, low, "≥", 1)
		verdict.Reached(ctx, "verifications of low priority that are shed", stress.Left(scenario.WaitSettle), 1, "verifications",
			s.Prom.Growth(metric.VerificationsShed, low, stress.Only(stress.Window)))
	})

	loop(sc, func() *scenario.Loop { return stress.Loop() },
		cell{"the node's own metrics of CPU, memory and latency spike", func(ctx context.Context) error { return stress.Spiked(ctx) }},
		cell{"resource_exhaustion names the resource", func(ctx context.Context) error { return stress.Named(ctx) }},
		cell{"shed_low_priority and request_scale_up are planned", nil},
		cell{"both are done", nil},
		cell{"the pattern is recorded, with a recommendation for the pod's requests", func(ctx context.Context) error { return stress.Recommended(ctx) }})

	criterion(sc, "S5.3", "it degrades gracefully, and scales back: no restart, no pod lost, no failed operation", "≥ 1 joined; 0", scenario.Reacts().Because("who never grew cannot scale back"), func(ctx SpecContext) {
		outlast(ctx, stress)
		verdict.AtLeast("new pods that have joined", map[string]float64{s.Mesh.Namespace: float64(len(stress.Joined))}, 1, "pods")
		verdict.EventuallyHolds(ctx, scenario.WaitScale, stress.ScaledBack)
		verdict.Must(stress.AwaitTail(ctx))
		judgeRecords(ctx, s)
		judgeOperations(ctx, s, stress.Tailed())
		casualties, err := s.Casualties(ctx)
		verdict.Must(err)
		verdict.None("casualties", len(casualties), 0, "containers and pods", casualties)
	})

	diagnosis(sc)
})

// outlast waits until the stress is over.
func outlast(ctx context.Context, stress *scenario.Stress) {
	GinkgoHelper()
	verdict.Must(phase(stress.Name+": until it is over", func() error { return stress.Outlast(ctx) }))
}
