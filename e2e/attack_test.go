package e2e

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// What is judged of an attack on signatures, whichever way it comes.

// judgeBadSignatures holds the bad signatures that each node counted against
// the bar.
func judgeBadSignatures(ctx SpecContext, s *scenario.Run, a *scenario.Attack) {
	GinkgoHelper()
	failed := prom.Labels{metric.LabelType: metric.VerificationFailed}
	counted := s.Prom.Growth(metric.AnomaliesTotal, failed, a.Seen().Since())
	verdict.Eventually(ctx, counted).WithTimeout(scenario.WaitSettle).Should(HaveEach(BeNumerically(">=", scenario.BarBadSignatures)))
	verdict.AtLeast("bad signatures counted", ask(ctx, scenario.WaitAnswer, counted), scenario.BarBadSignatures, "signatures")
}

// judgeFailureRate wants one episode on each node that saw the attack, and still one when
// its tail is over.
func judgeFailureRate(ctx SpecContext, s *scenario.Run, a *scenario.Attack) {
	GinkgoHelper()
	verdict.Must(phase(s.Name+": tail", func() error { return a.AwaitTail(ctx) }))
	high := prom.Labels{metric.LabelType: metric.HighFailureRate}
	seen := ask(ctx, scenario.WaitScraped, s.Prom.Growth(metric.AnomaliesTotal, high, a.Watched()))
	verdict.Equal("episodes of a high failure rate", seen, scenario.BarEpisodes, "episodes")
	verdict.Must(a.Loop().Analyzed(ctx)) // one incident, and it names the suspect
}

// judgeInvalidation wants each node to invalidate its session with the suspect in time,
// and the kernel to drop what comes under it afterwards.
func judgeInvalidation(ctx SpecContext, s *scenario.Run, a *scenario.Attack) {
	GinkgoHelper()
	verdict.Eventually(ctx, s.Prom.Growth(metric.SessionsInvalidatedTotal, nil, a.Seen().Since())).
		WithTimeout(scenario.WaitSettle).Should(HaveEach(BeNumerically(">=", 1)))
	dropped := prom.Labels{metric.LabelVerdict: metric.VerdictRevoked}
	verdict.Eventually(ctx, s.Prom.Growth(metric.PacketsTotal, dropped, a.Seen().Since())).
		WithTimeout(scenario.WaitSettle).Should(HaveEach(BeNumerically(">=", 1)))
	took, sinceFirst, err := a.Invalidated(ctx)
	verdict.Must(err)
	AddReportEntry("from the first bad signature", sinceFirst, ReportEntryVisibilityFailureOrVerbose)
	verdict.Time("from the failure that calls for it", took, scenario.BarInvalidated, 0)
}

// judgeInnocents wants nothing to befall a session with anybody else, by the journals and by
// what Prometheus has of invalidations, until the tail is over.
func judgeInnocents(ctx SpecContext, s *scenario.Run, a *scenario.Attack) {
	GinkgoHelper()
	verdict.Must(a.AwaitTail(ctx))
	innocents, err := a.Innocents(ctx)
	verdict.Must(err)
	counted, err := a.Unexplained(ctx)
	verdict.Must(err)
	innocents = append(innocents, counted...)
	verdict.None("harm to others' sessions", len(innocents), 0, "sessions", innocents)
}

// attackLoop is the row of scenario 2.
func attackLoop(sc *scenario.Scenario, a **scenario.Attack) {
	loop(sc, func() *scenario.Loop { return (*a).Loop() },
		cell{"failed verifications are counted", func(ctx context.Context) error { return (*a).Counted(ctx) }},
		cell{"high_failure_rate names the session and its peer", func(ctx context.Context) error { return (*a).Named(ctx) }},
		cell{"invalidate_session and rotate_keys are planned from that anomaly", nil},
		cell{"both are done", nil},
		cell{"the attack's pattern is recorded, and the threat list names the peer", func(ctx context.Context) error { return (*a).Remembered(ctx) }})
}
