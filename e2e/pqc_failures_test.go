package e2e

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The faults of scenario 2: bad signatures by an eBPF program at a node's
// egress, by a script over the wire, and the document's own.
const (
	corruptFixture = "pqc-corrupt.yaml"
	injectFixture  = "pqc-inject.yaml"
	failureFixture = "pqc-verification-failure.yaml"
)

var _ = Describe("Scenario 2: PQC verification failures, corrupted on the wire", Ordered, ContinueOnFailure, Label("pqc-corrupt", "pqc-failures"), func() {
	var s *scenario.Run
	var attack *scenario.Attack

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, "pqc-corrupt")
		attack = disturb(ctx, s, s.Corrupt, corruptFixture)
	})

	AfterEach(note)

	It("S2.1 bad signatures are counted", Label("S2.1"), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeBadSignatures(ctx, s, attack)
	})

	It("S2.3 the session is invalidated, and its frames drop in the kernel", Label("S2.3"), func(ctx SpecContext) {
		judgeInvalidation(ctx, s, attack)
		dropped := prom.Labels{metric.LabelVerdict: metric.VerdictRevoked}
		eventually(ctx, s.Prom.Growth(metric.PacketsTotal, dropped, attack.Seen())).
			WithTimeout(scenario.Wait.Scraped).Should(HaveEach(BeNumerically(">=", 1)))
	})

	It("S2.2 a high failure rate is one episode", Label("S2.2"), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeFailureRate(ctx, s, attack)
	})

	It("S2.4 keys are rotated when failures pass the threshold", Label("S2.4"), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		var took scenario.Reactions
		eventually(ctx, func(ctx context.Context) (err error) {
			took, err = attack.Rotated(ctx)
			return err
		}).WithTimeout(scenario.Wait.Settle).Should(Succeed())
		eventually(ctx, s.SessionsVerified).WithTimeout(scenario.Wait.Settle).Should(Succeed())
		rotations := prom.Labels{metric.LabelReason: metric.ReasonCompromise}
		eventually(ctx, s.Prom.Growth(metric.KeyRotationsTotal, rotations, attack.Seen().Since())).
			WithTimeout(scenario.Wait.Scraped).Should(HaveEach(BeNumerically(">=", 1)))
		scenario.JudgeTime("from the attack's end to new keys", took, scenario.Bar.Rotated)
	})

	It("S2.5 the innocent stay up", Label("S2.5"), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeInnocents(ctx, attack)
	})

	It("S2.6 the mesh goes on without a verifier that fails, and takes it back", Label("S2.6"), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		failure := disturb(ctx, s, s.Fail, failureFixture)
		heal(ctx, failure.Episode)
		eventually(ctx, s.SessionsVerified).WithTimeout(scenario.Wait.Settle).Should(Succeed())
		judgeRecords(ctx, s)
	})

	It("A1 PQCVerificationFailureSpike fires in the attack and resolves after it", Label("A1"), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeAlert(ctx, s, alert.VerificationFailureSpike, attack.Episode)
	})

	It("F1 nothing is left behind", Label("F1"), func(ctx SpecContext) { judgeLeftBehind(ctx, s) })
})

var _ = Describe("Scenario 2: PQC verification failures, injected by a script", Ordered, ContinueOnFailure, Label("pqc-inject", "pqc-failures"), func() {
	var s *scenario.Run
	var attack *scenario.Attack

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, "pqc-inject")
		attack = disturb(ctx, s, s.Inject, injectFixture)
	})

	AfterEach(note)

	It("S2.1 bad signatures are counted", Label("S2.1"), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeBadSignatures(ctx, s, attack)
		unknown := prom.Labels{metric.LabelType: metric.UnknownPubkey}
		eventually(ctx, s.Prom.Growth(metric.AnomaliesTotal, unknown, attack.Seen())).
			WithTimeout(scenario.Wait.Scraped).Should(HaveEach(BeNumerically(">=", 1)))
	})

	It("S2.2 a high failure rate is one episode", Label("S2.2"), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeFailureRate(ctx, s, attack)
	})

	It("S2.3 the session is invalidated", Label("S2.3"), func(ctx SpecContext) { judgeInvalidation(ctx, s, attack) })

	It("S2.5 the innocent stay up", Label("S2.5"), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeInnocents(ctx, attack)
	})

	It("F1 nothing is left behind", Label("F1"), func(ctx SpecContext) { judgeLeftBehind(ctx, s) })
})

// judgeBadSignatures holds the bad signatures that each node counted against
// the bar.
func judgeBadSignatures(ctx SpecContext, s *scenario.Run, a *scenario.Attack) {
	GinkgoHelper()
	failed := prom.Labels{metric.LabelType: metric.VerificationFailed}
	counted := s.Prom.Growth(metric.AnomaliesTotal, failed, a.Seen().Since())
	eventually(ctx, counted).WithTimeout(scenario.Wait.Settle).Should(HaveEach(BeNumerically(">=", scenario.Bar.BadSignatures)))
	seen, err := counted(ctx)
	scenario.Conclusive(err)
	scenario.JudgeLeast("bad signatures counted", seen, float64(scenario.Bar.BadSignatures), "signatures")
}

// judgeFailureRate wants one episode on each node that saw the attack.
func judgeFailureRate(ctx SpecContext, s *scenario.Run, a *scenario.Attack) {
	GinkgoHelper()
	high := prom.Labels{metric.LabelType: metric.HighFailureRate}
	episodes := s.Prom.Growth(metric.AnomaliesTotal, high, a.Seen().Since())
	eventually(ctx, episodes).WithTimeout(scenario.Wait.Scraped).Should(HaveEach(BeNumerically(">=", scenario.Bar.Episodes)))
	seen, err := episodes(ctx)
	scenario.Conclusive(err)
	scenario.JudgeEqual("episodes of a high failure rate", seen, float64(scenario.Bar.Episodes), "episodes")
}

// judgeInvalidation wants each node to invalidate its session with the suspect
// in time.
func judgeInvalidation(ctx SpecContext, s *scenario.Run, a *scenario.Attack) {
	GinkgoHelper()
	eventually(ctx, s.Prom.Growth(metric.SessionsInvalidatedTotal, nil, a.Seen().Since())).
		WithTimeout(scenario.Wait.Settle).Should(HaveEach(BeNumerically(">=", 1)))
	took, err := a.Invalidated(ctx)
	scenario.Conclusive(err)
	scenario.JudgeTime("from the failure that calls for it", took, scenario.Bar.Invalidated)
}

// judgeInnocents wants no session with anybody else to be invalidated.
func judgeInnocents(ctx SpecContext, a *scenario.Attack) {
	GinkgoHelper()
	innocents, err := a.Innocents(ctx)
	scenario.Conclusive(err)
	scenario.JudgeNone("sessions of others invalidated", len(innocents), scenario.Bar.Innocents, "sessions", innocents)
}
