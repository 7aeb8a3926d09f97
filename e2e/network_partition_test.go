package e2e

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/dashboard"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The faults of scenario 1: the document's, and the cut of a single link.
const (
	partitionFixture = "network-partition.yaml"
	linkFixture      = "network-partition-link.yaml"
)

var _ = Describe("Scenario 1: network partition", Ordered, ContinueOnFailure, Label("network-partition"), func() {
	var s *scenario.Run
	var split, link *scenario.Partition

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, "network-partition")
		split = disturb(ctx, s, s.Partition, partitionFixture)
	})

	AfterEach(note)

	It("S1.1 every node of both zones recognises the partition", Label("S1.1"), func(ctx SpecContext) {
		partitions := prom.Labels{metric.LabelType: metric.NetworkPartition}
		eventually(ctx, s.Prom.Growth(metric.AnomaliesDetected, partitions, split.Window)).
			WithTimeout(scenario.Wait.Scraped).Should(HaveEach(BeNumerically(">=", 1)))
		took, err := split.AfterCut(ctx, scenario.Opened(metric.NetworkPartition))
		scenario.Conclusive(err)
		scenario.JudgeTime("from the cut to the incident", took, scenario.Bar.Recognised)
	})

	It("S1.2 every node recalculates its routes", Label("S1.2"), func(ctx SpecContext) {
		eventually(ctx, s.Prom.Growth(metric.RoutesRecalculated, nil, split.Window)).
			WithTimeout(scenario.Wait.Scraped).Should(HaveEach(BeNumerically(">=", 1)))
		took, err := split.AfterCut(ctx, scenario.Done(metric.ActivateBackupRoutes))
		scenario.Conclusive(err)
		scenario.JudgeTime("from the cut to new routes", took, scenario.Bar.Rerouted)
	})

	It("S1.4 PQC sessions are back after the heal", Label("S1.4"), func(ctx SpecContext) {
		heal(ctx, split.Episode)
		eventually(ctx, s.SessionsVerified).WithTimeout(scenario.Wait.Settle).Should(Succeed())
		took, err := split.AfterHeal(ctx)
		scenario.Conclusive(err)
		scenario.JudgeTime("from a pair's heal to its verified session", took, scenario.Bar.SessionsBack)
	})

	It("S1.3 no acknowledged record is lost or doubled", Label("S1.3"), func(ctx SpecContext) {
		heal(ctx, split.Episode)
		ops, err := s.Operations(ctx)
		scenario.Conclusive(err)
		proven, recovered := *split.Times.Proven, *split.Times.Recovered
		for node := range split.CutAt {
			t := verify.Writes(ops, proven, recovered)[node]
			if t.Tried == 0 {
				scenario.Invalidate("nobody wrote to %s during the cut (%v): too little traffic", node, recovered.Sub(proven).Round(time.Second))
			}
			Expect(t.Acknowledged).To(BeNumerically(">", 0), "%s was not writable during the cut: %d writes tried", node, t.Tried)
		}
		judgeRecords(ctx, s)
	})

	It("S1.5 a cut link is routed around", Label("S1.5"), func(ctx SpecContext) {
		heal(ctx, split.Episode)
		scenario.Conclusive(s.AwaitWell(ctx))
		link = disturb(ctx, s, s.Partition, linkFixture)
		gaps, err := link.Gaps(ctx)
		scenario.Conclusive(err)
		scenario.JudgeTime("without a frame from the other end", gaps, scenario.Bar.Gap)
		// And it goes on.
		relayed := link.Window
		relayed.Pods = link.Ends()
		eventually(ctx, s.Prom.Growth(metric.FramesByRelayTotal, nil, relayed)).
			WithTimeout(scenario.Wait.Settle).Should(HaveEach(BeNumerically(">=", scenario.Least.Relayed)))
		scenario.Conclusive(link.End(ctx))
	})

	It("A2 MeshNodeUnreachable fires in the partition and resolves after it", Label("A2"), func(ctx SpecContext) {
		heal(ctx, split.Episode)
		judgeAlert(ctx, s, alert.NodeUnreachable, split.Episode)
	})

	It("D1 every panel of the dashboard shows something", Label("D1"), func(ctx SpecContext) {
		queries, err := dashboard.Queries(s.Mesh.Namespace)
		scenario.Conclusive(err)
		var blank []string
		for _, q := range queries {
			if err := s.Prom.Answers(ctx, q.Expr, split.Window); err != nil {
				blank = append(blank, fmt.Sprintf("%s: %v", q, err))
			}
		}
		scenario.JudgeNone("panels without data or with an error", len(blank), scenario.Bar.BlankPanels, "queries", blank)
	})

	It("F1 nothing is left behind", Label("F1"), func(ctx SpecContext) { judgeLeftBehind(ctx, s) })
})

// fixturesOf the scenarios: they must be there before anything is built.
var fixturesOf = []string{
	partitionFixture, linkFixture, corruptFixture, injectFixture, failureFixture,
	crashFixture, recurringFixture, latencyFixture, slowFixture, stressFixture,
}
