package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The faults of scenario 2 where signatures are corrupted on the wire: by an eBPF program
// at a node's egress, and the document's own. The old frames of a suspect are sent again.
const (
	corruptFixture = "pqc-corrupt.yaml"
	replayFixture  = "pqc-replay.yaml"
	failureFixture = "pqc-verification-failure.yaml"
)

var _ = describe(scenario.Scenario{
	Name: "pqc-corrupt", Title: "Scenario 2: PQC verification failures, corrupted on the wire", Takes: 140 * time.Second, Design: "2",
	Labels: []string{"pqc-failures"}, Fixtures: []string{corruptFixture, failureFixture, replayFixture},
}, func(sc *scenario.Scenario) {
	var s *scenario.Run
	var attack *scenario.Attack
	var old *scenario.Replay
	var sessions map[string]string

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		sessions = ask(ctx, scenario.WaitAnswer, s.AllSessions)
		old = disturb(ctx, s, s.Replay, replayFixture)
		attack = disturb(ctx, s, s.Corrupt, corruptFixture)
	})

	criterion(sc, "S2.1", "every node that sees the attack counts its bad signatures", "> 5", scenario.Reacts(), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeBadSignatures(ctx, s, attack)
	})

	criterion(sc, "S2.3", "the session is invalidated after the third bad signature, and its frames drop in the kernel", within(scenario.BarInvalidated), scenario.Heals(), func(ctx SpecContext) {
		judgeInvalidation(ctx, s, attack)
	})

	criterion(sc, "S2.4", "after the last invalidation new keys are made, another session at both ends, and old frames drop", within(scenario.BarRotated), scenario.Heals(), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		took := verdict.Reacted(ctx, "from the attack's end to new keys", attack.Left(scenario.WaitSettle), scenario.BarRotated, attack.Rotated)
		verdict.EventuallyHolds(ctx, scenario.WaitSettle, s.SessionsVerified)
		verdict.EventuallyHolds(ctx, scenario.WaitSettle, func(ctx context.Context) error {
			after, err := attack.SessionIDs(ctx)
			if err != nil {
				return err
			}
			return scenario.Replaced(old.Before, after)
		})
		rotations := prom.Labels{metric.LabelReason: metric.ReasonCompromise}
		verdict.Bar(metric.KeyRotationsTotal, rotations, "≥", 1)
		verdict.Eventually(ctx, s.Prom.Growth(metric.KeyRotationsTotal, rotations, attack.Seen().Since())).
			WithTimeout(scenario.WaitScraped).Should(HaveEach(BeNumerically(">=", 1)))
		verdict.EventuallyHolds(ctx, scenario.WaitSettle, old.Dropped)
		verdict.Time("from the attack's end to new keys", took, scenario.BarRotated, ask(ctx, scenario.WaitAnswer, s.Apart(s.Nodes...)))
	})

	criterion(sc, "S2.2", "a high failure rate is one episode on each node, and names the suspect", "= 1", scenario.Reacts(), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeFailureRate(ctx, s, attack)
	})

	criterion(sc, "S2.5", "no session of others is invalidated, replaced or blocked", "0", scenario.Holds(), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeInnocents(ctx, attack, sessions)
	})

	attackLoop(sc, &attack)

	criterion(sc, "S2.6", "the mesh goes on without a verifier that fails, and takes it back: no operation fails, no record or journal is lost", "0", scenario.Holds(), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		verdict.EventuallyHolds(ctx, scenario.WaitSettle, s.SessionsVerified) // the attack's incidents may still be open
		failure := disturb(ctx, s, s.Fail, failureFixture)
		heal(ctx, failure.Episode)
		verdict.EventuallyHolds(ctx, scenario.WaitSettle, s.SessionsVerified)
		verdict.Must(failure.Continued(ctx))
		judgeAcknowledged(ctx, s, failure.While())
		judgeRecords(ctx, s)
		verdict.Must(failure.AwaitTail(ctx))
		judgeOperations(ctx, s, failure.Tailed())
	})

	criterion(sc, "A1", "PQCVerificationFailureSpike fires in the attack and resolves after it", "yes", scenario.Reacts(), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeAlert(ctx, s, alert.VerificationFailureSpike, attack.Episode, alert.Resolved)
	})

	diagnosis(sc)
})
