package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/prom"
	"github.com/x0tta6bl4/mesh/e2e/scenario"
	"github.com/x0tta6bl4/mesh/e2e/verify"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

const partitionFixture = "network-partition.yaml"

var _ = Describe("Scenario 1: network partition", Ordered, ContinueOnFailure, Label("network-partition"), func() {
	var s *scenario.Run

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, "network-partition", partitionFixture)
	})

	AfterEach(note)

	It("S1.1 every node of both zones recognises the partition", Label("S1.1"), func(ctx SpecContext) {
		partitions := prom.Labels{metric.LabelType: metric.NetworkPartition}
		eventually(ctx, s.Prom.Growth(metric.AnomaliesDetected, partitions, s.Window)).
			WithTimeout(scenario.Wait.Scraped).Should(HaveEach(BeNumerically(">=", 1)))
		took, err := s.AfterCut(ctx, scenario.Opened(metric.NetworkPartition))
		scenario.Conclusive(err)
		scenario.JudgeTime("from the cut to the incident", took, scenario.Bar.Recognised)
	})

	It("S1.2 every node recalculates its routes", Label("S1.2"), func(ctx SpecContext) {
		eventually(ctx, s.Prom.Growth(metric.RoutesRecalculated, nil, s.Window)).
			WithTimeout(scenario.Wait.Scraped).Should(HaveEach(BeNumerically(">=", 1)))
		took, err := s.Rerouted(ctx)
		scenario.Conclusive(err)
		scenario.JudgeTime("from the cut to new routes", took, scenario.Bar.Rerouted)
	})

	It("S1.4 PQC sessions are back after the heal", Label("S1.4"), func(ctx SpecContext) {
		heal(ctx, s)
		eventually(ctx, func(ctx context.Context) (bool, error) {
			err := s.SessionsVerified(ctx)
			return err == nil, err
		}).WithTimeout(scenario.Wait.Settle).Should(BeTrue())
		took, err := s.AfterHeal(ctx)
		scenario.Conclusive(err)
		scenario.JudgeTime("from a pair's heal to its verified session", took, scenario.Bar.SessionsBack)
	})

	It("S1.3 no acknowledged record is lost or doubled", Label("S1.3"), func(ctx SpecContext) {
		heal(ctx, s)
		ops, err := s.Operations(ctx)
		scenario.Conclusive(err)
		proven, recovered := *s.Fault.Proven, *s.Fault.Recovered
		for node := range s.CutAt {
			t := verify.Writes(ops, proven, recovered)[node]
			if t.Tried == 0 {
				scenario.Invalidate("nobody wrote to %s during the cut (%v): too little traffic", node, recovered.Sub(proven).Round(time.Second))
			}
			Expect(t.Acknowledged).To(BeNumerically(">", 0), "%s was not writable during the cut: %d writes tried", node, t.Tried)
		}
		v, err := s.AwaitRecords(ctx)
		scenario.Conclusive(err)
		AddReportEntry("acknowledged records", v.Acknowledged, ReportEntryVisibilityFailureOrVerbose)
		scenario.JudgeNone("records", v.Defects(), scenario.Bar.Defects, "records", v.Err())
	})

	It("F1 nothing is left behind", Label("F1"), func(ctx SpecContext) {
		if kept(s) {
			Skip("-keep leaves a failed scenario as it is")
		}
		collect(ctx, s) // before the mesh goes
		left, err := remove(ctx, s)
		scenario.Conclusive(err)
		scenario.JudgeNone("left behind", len(left), scenario.Bar.LeftBehind, "things", left)
	})
})

// fixturesOf the scenarios: they must be there before anything is built.
var fixturesOf = []string{partitionFixture}

// eventually asks Prometheus, or a node, until the answer will do.
func eventually(ctx context.Context, ask any) AsyncAssertion {
	GinkgoHelper()
	return Eventually(ctx, ask).WithPolling(scenario.Poll)
}
