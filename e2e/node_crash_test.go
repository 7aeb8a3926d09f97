package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The faults of scenario 3: the document's crash, once and every five minutes.
const (
	crashFixture     = "node-crash.yaml"
	recurringFixture = "node-crash-schedule.yaml"
)

var _ = Describe("Scenario 3: node crash and recovery", Ordered, ContinueOnFailure, Label("node-crash"), func() {
	crashSpecs("node-crash", crashFixture)
})

var _ = Describe("Scenario 3: node crash and recovery, recurring", Ordered, ContinueOnFailure, Label("node-crash-recurring", nightly), func() {
	crashSpecs("node-crash-recurring", recurringFixture)
})

// crashSpecs are the criteria of a crash.
func crashSpecs(name, fixture string) {
	var s *scenario.Run
	var crash *scenario.Crash

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, name)
		verdict.Must(s.AwaitHomes(ctx))
		crash = disturb(ctx, s, s.Crash, fixture)
	})

	AfterEach(note)

	It("S3.1 the pod restarts within its restart policy", Label("S3.1"), func(ctx SpecContext) {
		var back time.Time
		eventually(ctx, func(ctx context.Context) (err error) {
			back, err = crash.Back(ctx)
			return err
		}).WithTimeout(scenario.WaitRestart).Should(Succeed())
		verdict.Time("from the kill to a ready successor", verdict.Times{crash.Victim: back.Sub(crash.KilledAt)}, scenario.BarRestarted)
	})

	It("S3.2 client sessions move to surviving nodes", Label("S3.2"), func(ctx SpecContext) {
		window := crash.Window
		window.Pods = crash.Survivors
		eventually(ctx, s.Prom.Total(metric.RoutesRecalculated, nil, window)).
			WithTimeout(scenario.WaitSettle).Should(BeNumerically(">=", 1))
		took, err := crash.Migrated(ctx)
		verdict.Must(err)
		verdict.Time("from the loss of the victim to an answer elsewhere", took, scenario.BarMigrated)
	})

	It("S3.3 no failure is visible to clients", Label("S3.3"), func(ctx SpecContext) {
		eventually(ctx, s.SessionsVerified).WithTimeout(scenario.WaitSettle).Should(Succeed())
		judgeRecords(ctx, s)
		judgeOperations(ctx, s, crash.Window.Start)
	})

	It("S3.4 the healing is logged", Label("S3.4"), func(ctx SpecContext) {
		done := prom.Labels{metric.LabelOutcome: metric.OutcomeDone}
		window := crash.Window
		window.Pods = crash.Survivors
		eventually(ctx, s.Prom.Growth(metric.HealingActionsTotal, done, window)).
			WithTimeout(scenario.WaitSettle).Should(HaveEach(BeNumerically(">=", 1)))
		eventually(ctx, crash.Logged).WithTimeout(scenario.WaitSettle).Should(HaveEach(BeEmpty()),
			"each survivor's journal has every phase of the loop under the incident of the crash")
	})

	It("A3 MAPEKHealingTriggered fires", Label("A3"), func(ctx SpecContext) {
		judgeFiring(ctx, s, alert.HealingTriggered, crash.Episode)
	})

	It("F1 nothing is left behind", Label("F1"), func(ctx SpecContext) { judgeLeftBehind(ctx, s) })
}
