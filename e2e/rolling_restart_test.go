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

var _ = describe(scenario.Scenario{
	Name: "rolling-restart", Title: "A rolling restart, as for an upgrade", Takes: 150 * time.Second, Labels: []string{scenario.Nightly},
}, func(sc *scenario.Scenario) {
	var s *scenario.Run
	var window prom.Window

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		verdict.Must(s.AwaitHomes(ctx))
		window = prom.Window{Namespace: s.Mesh.Namespace, Pods: s.Nodes, Start: time.Now()}
	})

	criterion(sc, "R1", "every pod is replaced by a ready one", "yes", scenario.Reacts(), func(ctx SpecContext) {
		verdict.Must(s.Restart(ctx))
		verdict.Holds(ctx, scenario.WaitRollout, func(ctx context.Context) error {
			left, err := s.Unreplaced(ctx)
			if err == nil && len(left) > 0 {
				err = verdict.Shortf("pods that were not replaced: %v", left)
			}
			return err
		})
		verdict.Measured("from the order to the last ready pod", time.Since(window.Start))
		window.End = time.Now()
	})

	criterion(sc, "R2", "no failure is visible to clients, and no record is lost", "0", scenario.Holds(), func(ctx SpecContext) {
		verdict.EventuallyHolds(ctx, scenario.WaitSettle, s.SessionsVerified)
		judgeRecords(ctx, s)
		judgeOperations(ctx, s, window)
	})

	criterion(sc, "R3", "who says that it leaves raises no alarm: nobody takes it for lost", "0", scenario.Holds(), func(ctx SpecContext) {
		window.End = window.End.Add(scenario.RolloutTail)
		verdict.Must(scenario.AwaitScraped(ctx, window.End))
		alarms, by := 0.0, map[string]float64{}
		for _, lost := range []string{metric.NodeCrash, metric.LinkFailure, metric.NetworkPartition} {
			n := ask(ctx, scenario.WaitAnswer, s.Prom.Total(metric.AnomaliesDetected, prom.Labels{metric.LabelType: lost}, window))
			alarms, by[lost] = alarms+n, n
		}
		verdict.None("incidents of lost peers", int(alarms), 0, "incidents", by)
	})
})
