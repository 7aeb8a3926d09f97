package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
)

// The faults of scenario 7: of one clock, forth and back, much and little, and of a zone's. It is the time of day that is wrong.
var _ = describe(scenario.Scenario{
	Name: "clock-skew", Title: "Scenario 7: a wrong clock", Takes: 60 * time.Second, Design: "7",
	Labels: []string{scenario.Nightly}, Fixtures: []string{"clock-skew.yaml"}, Probed: true,
}, func(sc *scenario.Scenario) { skewSpecs(sc, "clock-skew.yaml", true) })

var _ = describe(scenario.Scenario{
	Name: "clock-skew-ahead", Title: "Scenario 7: a wrong clock, ahead", Takes: 60 * time.Second, Design: "7",
	Labels: []string{scenario.Nightly}, Fixtures: []string{"clock-skew-ahead.yaml"}, Probed: true,
}, func(sc *scenario.Scenario) { skewSpecs(sc, "clock-skew-ahead.yaml", true) })

var _ = describe(scenario.Scenario{
	Name: "clock-skew-small", Title: "Scenario 7: a wrong clock, by little", Takes: 60 * time.Second, Design: "7",
	Labels: []string{scenario.Nightly}, Fixtures: []string{"clock-skew-small.yaml"}, Probed: true,
}, func(sc *scenario.Scenario) { skewSpecs(sc, "clock-skew-small.yaml", true) })

var _ = describe(scenario.Scenario{
	Name: "clock-skew-zone", Title: "Scenario 7: the wrong clocks of a zone", Takes: 60 * time.Second, Design: "7",
	Labels: []string{scenario.Nightly}, Fixtures: []string{"clock-skew-zone.yaml"}, Probed: true,
}, func(sc *scenario.Scenario) { skewSpecs(sc, "clock-skew-zone.yaml", false) })

// skewSpecs are the criteria of clocks that show a wrong time; alone is whether there is one, whose own loop is judged.
func skewSpecs(sc *scenario.Scenario, fixture string, alone bool) {
	var s *scenario.Run
	var skew *scenario.Skew

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		skew = disturb(ctx, s, s.SkewClocks, fixture)
		heal(ctx, skew.Episode)
	})

	criterion(sc, "S7.3", "every node whose clock is right names each wrong clock, no other, and how it is wrong", within(scenario.BarSkew), scenario.Reacts(), func(ctx SpecContext) {
		slack := ask(ctx, scenario.WaitAnswer, s.Skew(skew.Right...))
		verdict.React(ctx, "from right before the fault to the incident", scenario.WaitSettle, scenario.BarSkew, slack, skew.Recognised)
	})

	if alone {
		loop(sc, func() *scenario.Loop { return skew.Loop() },
			cell{"the others measure how far the clock is off", func(ctx context.Context) error { return skew.Measured(ctx) }},
			cell{"clock_skew of the node itself is found by its peers' echoes", nil},
			cell{"correct_clock is planned", nil},
			cell{"it is done: what the node stamps has the others' time", func(ctx context.Context) error { return skew.Corrected(ctx) }},
			cell{"every node remembers whose clock was wrong", func(ctx context.Context) error { return skew.Remembered(ctx) }})
	}

	criterion(sc, "A5", "MeshClockSkew fires in the fault and resolves after it", "yes", scenario.Reacts(), func(ctx SpecContext) {
		judgeAlert(ctx, s, alert.ClockSkew, skew.Episode, alert.Resolved)
	})

	criterion(sc, "S7.1", "no session is lost, replaced or unverified at any time", "0", scenario.Holds(), func(ctx SpecContext) {
		unsteady := ask(ctx, scenario.WaitScraped, skew.Steady)
		verdict.None("nodes", len(unsteady), 0, "nodes", unsteady)
	})

	criterion(sc, "S7.2", "nobody is alone with an acknowledgement, and no record is lost", "0", scenario.Holds(), func(ctx SpecContext) {
		verdict.Must(skew.AwaitTail(ctx))
		losses := ask(ctx, scenario.WaitAnswer, skew.Losses)
		if losses > 0 {
			verdict.Must(verdict.Shortf("nodes lost peers %v times", losses))
		}
		judgeAcknowledged(ctx, s, skew.Bitten())
		judgeRecords(ctx, s)
		judgeOperations(ctx, s, skew.Tailed())
	})

	criterion(sc, "S7.4", "after the heal nothing lingers: no incident is open, and every node's time is right", "0", scenario.Holds(), func(ctx SpecContext) {
		verdict.Must(skew.AwaitTail(ctx))
		left := ask(ctx, scenario.WaitAnswer, skew.Lingers)
		verdict.None("left", len(left), 0, "things", left)
	})

	diagnosis(sc)
}
