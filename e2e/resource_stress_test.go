package e2e

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

const stressFixture = "resource-stress.yaml"

var _ = Describe("Scenario 5: resource exhaustion", Ordered, ContinueOnFailure, Label("resource-stress"), func() {
	var s *scenario.Run
	var stress *scenario.Stress

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, "resource-stress")
		observe(ctx, s, scenario.LeastCompared)
		stress = disturb(ctx, s, s.Stress, stressFixture)
	})

	AfterEach(note)

	It("S5.1 the autoscaler scales up", Label("S5.1"), func(ctx SpecContext) {
		took, err := stress.ScaledUp(ctx)
		verdict.Must(err)
		verdict.Time("from the stress to more replicas", took, scenario.BarScaledUp)
	})

	It("S5.2 critical verifications go on", Label("S5.2"), func(ctx SpecContext) {
		low := prom.Labels{metric.LabelPriority: metric.PriorityLow}
		eventually(ctx, s.Prom.Growth(metric.VerificationsShed, low, stress.Only(stress.Window))).WithTimeout(scenario.WaitSettle).
			Should(HaveEach(BeNumerically(">", 0)), "%s sheds verifications of low priority", stress.Victim)
		verdict.Must(stress.Observe(ctx))
		before, err := stress.Verified(ctx, s.Baseline)
		verdict.Must(err)
		under, err := stress.Verified(ctx, stress.Bitten())
		verdict.Must(err)
		verdict.AtLeast("critical verifications per second and session against the baseline", scenario.Ratios(before, under), scenario.BarCriticalShare, "of the baseline")
	})

	It("S5.3 it degrades gracefully, and scales back", Label("S5.3"), func(ctx SpecContext) {
		eventually(ctx, stress.Joined).WithTimeout(scenario.WaitScale).ShouldNot(BeEmpty(), "a new pod enrols and joins")
		verdict.Must(verdict.Phase(stress.Name+": until it is over", func() error { return stress.Finish(ctx) }))
		eventually(ctx, func(ctx context.Context) error { return stress.ScaledBack(ctx) }).WithTimeout(scenario.WaitScale).Should(Succeed())
		restarts, err := s.Restarts(ctx)
		verdict.Must(err)
		judgeRecords(ctx, s)
		judgeOperations(ctx, s, stress.Window.Start)
		verdict.None("restarts", len(restarts), scenario.BarRestarts, "containers", restarts)
	})

	It("F1 nothing is left behind", Label("F1"), func(ctx SpecContext) { judgeLeftBehind(ctx, s) })
})
