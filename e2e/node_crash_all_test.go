package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

// Nobody is left from whom a node could have what it lost: all that is there afterwards was in the nodes' volumes.
var _ = describe(scenario.Scenario{
	Name: "node-crash-all", Title: "Scenario 3: every node crashes at once", Takes: 75 * time.Second, Design: "3",
	Labels: []string{scenario.Nightly},
}, func(sc *scenario.Scenario) {
	var s *scenario.Run
	var outage *scenario.Outage

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		verdict.Must(s.AwaitHomes(ctx))
		verdict.Must(phase(sc.Name+": end every node", func() (err error) {
			outage, err = s.EndAll(ctx)
			return err
		}))
	})

	criterion(sc, "S3.6", "when no node is left, a ready one takes the place of each", within(scenario.BarRestarted), scenario.Reacts(), func(ctx SpecContext) {
		const what = "from the end of the last to a ready successor"
		took := verdict.Reacted(ctx, what, scenario.WaitRestart, scenario.BarRestarted, outage.Back)
		verdict.Time(what, took, scenario.BarRestarted, scenario.KubeletSlack+ask(ctx, scenario.WaitAnswer, s.Skew(s.Nodes...)))
	})

	criterion(sc, "S3.7", "every record that was acknowledged is on every node again, once, with its content", "0", scenario.Holds(), func(ctx SpecContext) {
		verdict.Must(outage.Promised(ctx))
		judgeRecords(ctx, s)
	})

	criterion(sc, "S3.8", "the mesh is whole again: every session is verified, and no incident is open", "yes", scenario.Holds(), func(ctx SpecContext) {
		verdict.Holds(ctx, scenario.WaitBaseline, s.Well)
	})
})
