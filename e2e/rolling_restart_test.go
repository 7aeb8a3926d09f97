package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

var _ = Describe("A rolling restart, as for an upgrade", Ordered, ContinueOnFailure, Label("rolling-restart", nightly), func() {
	var s *scenario.Run
	var window prom.Window

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, "rolling-restart")
		verdict.Must(s.AwaitHomes(ctx))
		window = prom.Window{Namespace: s.Mesh.Namespace, Pods: s.Nodes, Start: time.Now()}
	})

	AfterEach(note)

	It("R1 every pod is replaced by a ready one", Label("R1"), func(ctx SpecContext) {
		verdict.Must(s.Mesh.Restart(ctx))
		eventually(ctx, s.Unreplaced).WithTimeout(scenario.WaitRollout).Should(BeEmpty(), "pods that were not replaced")
		verdict.Measured("from the order to the last ready pod", time.Since(window.Start))
	})

	It("R2 no failure is visible to clients", Label("R2"), func(ctx SpecContext) {
		eventually(ctx, s.SessionsVerified).WithTimeout(scenario.WaitSettle).Should(Succeed())
		judgeRecords(ctx, s)
		judgeOperations(ctx, s, window.Start)
	})

	It("R3 who says that it leaves raises no alarm", Label("R3"), func(ctx SpecContext) {
		alarms, by := 0.0, map[string]float64{}
		for _, lost := range []string{metric.NodeCrash, metric.LinkFailure, metric.NetworkPartition} {
			n, err := s.Prom.Total(metric.AnomaliesDetected, prom.Labels{metric.LabelType: lost}, window)(ctx)
			verdict.Must(err)
			alarms, by[lost] = alarms+n, n
		}
		verdict.None("incidents of lost peers", int(alarms), scenario.BarAlarms, "incidents", by)
	})

	It("F1 nothing is left behind", Label("F1"), func(ctx SpecContext) { judgeLeftBehind(ctx, s) })
})
