package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The faults of scenario 3: the document's crash, once and every five minutes. And why clients may see nothing of it.
const (
	crashFixture     = "node-crash.yaml"
	recurringFixture = "node-crash-schedule.yaml"
	backAtOnce       = "Kubernetes has the pod back at once, so that clients see no failure whether anything heals or not"
)

var _ = describe(scenario.Scenario{
	Name: "node-crash", Title: "Scenario 3: node crash and recovery", Takes: 40 * time.Second, Design: "3",
	Fixtures: []string{crashFixture}, Probed: true,
}, func(sc *scenario.Scenario) { crashSpecs(sc, crashFixture, backAtOnce) })

var _ = describe(scenario.Scenario{
	Name: "node-crash-recurring", Title: "Scenario 3: node crash and recovery, recurring", Takes: 120 * time.Second, Design: "3",
	Labels: []string{scenario.Nightly}, Fixtures: []string{recurringFixture}, Probed: true,
}, func(sc *scenario.Scenario) { crashSpecs(sc, recurringFixture, "as in node-crash") })

// crashSpecs are the criteria of a crash with Kubernetes' own immediate successor, which is why S3.3 claims no healing.
func crashSpecs(sc *scenario.Scenario, fixture, why string) {
	var s *scenario.Run
	var crash *scenario.Crash

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		verdict.Must(s.AwaitHomes(ctx))
		crash = disturb(ctx, s, s.Crash, fixture)
	})

	criterion(sc, "S3.1", "the pod restarts by its policy: another one is ready in its place", within(scenario.BarRestarted), scenario.Reacts(), func(ctx SpecContext) {
		const what = "from the kill to a ready successor"
		took := verdict.Reacted(ctx, what, scenario.WaitRestart, scenario.BarRestarted, crash.Restarted)
		verdict.Time(what, took, scenario.BarRestarted, scenario.KubeletSlack+ask(ctx, scenario.WaitAnswer, s.Skew(crash.Victim)))
	})

	crashCriteria(sc, &s, &crash, scenario.Holds().Because(why))

	diagnosis(sc)
}

// crashCriteria are those that hold with and without an immediate successor; unseen is what S3.3 claims.
func crashCriteria(sc *scenario.Scenario, s **scenario.Run, crash **scenario.Crash, unseen scenario.Claims) {
	criterion(sc, "S3.2", "every client session that was at home on the victim answers elsewhere, and is counted", within(scenario.BarMigrated), scenario.Heals(), func(ctx SpecContext) {
		// The probers date the loss, the clients the answer.
		slack := scenario.ProbeSlack + ask(ctx, scenario.WaitAnswer, (*crash).Apart)
		verdict.React(ctx, "from the loss of the victim to an answer elsewhere", scenario.WaitSettle, scenario.BarMigrated, slack, (*crash).Migrated)
	})

	criterion(sc, "S3.3", "clients see no failure: none failed, none hung, none slow, no record lost", "0", unseen, func(ctx SpecContext) {
		heal(ctx, (*crash).Episode)
		verdict.Must((*crash).AwaitTail(ctx))
		judgeRecords(ctx, *s)
		judgeOperations(ctx, *s, (*crash).Tailed())
		verdict.EventuallyHolds(ctx, scenario.WaitSettle, (*s).SessionsVerified)
	})
}

var _ = describe(scenario.Scenario{
	Name: "node-crash-held", Title: "Scenario 3: node crash, with the successor held back", Takes: 55 * time.Second, Design: "3",
	Labels: []string{"node-crash"}, Fixtures: []string{crashFixture}, Probed: true,
}, func(sc *scenario.Scenario) {
	var s *scenario.Run
	var crash *scenario.Crash
	var release func(context.Context) error

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		verdict.Must(s.AwaitHomes(ctx))
		var err error
		release, err = s.HoldBack(ctx)
		verdict.Must(err)
		crash = disturb(ctx, s, s.Crash, crashFixture)
		verdict.Must(crash.AwaitDead(ctx))
	})

	criterion(sc, "S3.5", "it was a crash: every survivor lost the victim's heartbeats, with no successor to tell it", "≥ 1", scenario.Reacts().Because("it is the proof that it was a crash, and says so if there was none"), func(ctx SpecContext) {
		verdict.Must(crash.WasOne(ctx))
		verdict.Bar(metric.PeerUnreachable, map[string]string{metric.LabelPeer: crash.Victim}, "≥", 1)
		lost := verdict.Reached(ctx, "losses of the victim", scenario.WaitScraped, 1, "losses", crash.Unheard)
		verdict.AtLeast("losses of the victim", lost, 1, "losses")
	})

	criterion(sc, "S3.4", "on every survivor the loop heals: five phases in order, under one incident about the victim, actions done", "yes", scenario.Heals(), func(ctx SpecContext) {
		verdict.Must(release(ctx))
		verdict.Must(crash.WasOne(ctx))
		heal(ctx, crash.Episode)
		verdict.Holds(ctx, scenario.WaitSettle, func(ctx context.Context) error {
			if err := crash.Loop().Executed(ctx); err != nil {
				return err
			}
			return crash.Loop().Recorded(ctx)
		})
	})

	loop(sc, func() *scenario.Loop { return crash.Loop() },
		cell{"the victim is counted as unreachable", func(ctx context.Context) error { return crash.Lost(ctx) }},
		cell{"session failures and the death are one node_crash", func(ctx context.Context) error { return crash.Whole(ctx) }},
		cell{"migrate_sessions and activate_backup_routes are planned", nil},
		cell{"both are done", nil},
		cell{"the failure is recorded, and the victim's availability has moved", func(ctx context.Context) error { return crash.Available(ctx) }})

	crashCriteria(sc, &s, &crash, scenario.Upholds().Because("nobody but the loop takes over from a node that is not replaced"))

	criterion(sc, "A3", "MAPEKHealingTriggered fires for the fault's own incident; a nightly run sees it resolve", "yes", scenario.Heals(), func(ctx SpecContext) {
		judgeAlert(ctx, s, alert.HealingTriggered, crash.Episode, alert.Firing)
		verdict.Holds(ctx, scenario.WaitAlert, func(ctx context.Context) error {
			fired, err := alert.New(s.Prom).Fired(alert.HealingTriggered, crash.Window.Since())(ctx)
			if err != nil {
				return err
			}
			return crash.Loop().Alerted(ctx, fired)
		})
		judgeResolution(ctx, s, crash)
	})

	diagnosis(sc)
})
