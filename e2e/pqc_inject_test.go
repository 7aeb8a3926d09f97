package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The faults of scenario 2 where a script sends bad signatures over the wire: a member of
// the mesh, and one who is none and sends in the names of members.
const (
	injectFixture = "pqc-inject.yaml"
	forgeFixture  = "pqc-forge.yaml"
)

var _ = describe(scenario.Scenario{
	Name: "pqc-inject", Title: "Scenario 2: PQC verification failures, injected by a script", Takes: 50 * time.Second, Design: "2",
	Labels: []string{"pqc-failures"}, Fixtures: []string{injectFixture, forgeFixture},
}, func(sc *scenario.Scenario) {
	var s *scenario.Run
	var attack *scenario.Attack
	var sessions map[string]string

	BeforeAll(func(ctx SpecContext) {
		s = begin(ctx, sc)
		sessions = ask(ctx, scenario.WaitAnswer, s.AllSessions)
		attack = disturb(ctx, s, s.Inject, injectFixture)
	})

	criterion(sc, "S2.1", "every node counts the bad signatures and the unknown keys", "> 5", scenario.Reacts(), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeBadSignatures(ctx, s, attack)
		unknown := prom.Labels{metric.LabelType: metric.UnknownPubkey}
		verdict.Eventually(ctx, seen(s, attack, metric.AnomaliesTotal, unknown)).
			WithTimeout(scenario.WaitScraped).Should(HaveEach(BeNumerically(">=", 1)))
	})

	criterion(sc, "S2.3", "the session is invalidated after the third bad signature, and its frames drop in the kernel", within(scenario.BarInvalidated), scenario.Heals(), func(ctx SpecContext) {
		judgeInvalidation(ctx, s, attack)
	})

	criterion(sc, "S2.2", "a high failure rate is one episode on each node, and names the suspect", "= 1", scenario.Reacts(), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeFailureRate(ctx, s, attack)
	})

	criterion(sc, "S2.5", "no session of others is invalidated, replaced or blocked; a forger off the path costs no session at all", "0", scenario.Holds(), func(ctx SpecContext) {
		heal(ctx, attack.Episode)
		judgeInnocents(ctx, attack, sessions)
		forgery := disturb(ctx, s, s.Forge, forgeFixture)
		heal(ctx, forgery.Episode)
		verdict.Must(forgery.AwaitTail(ctx))
		judgeInnocents(ctx, forgery, sessions)
	})

	diagnosis(sc)
})
