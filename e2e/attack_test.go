package e2e

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
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
	verdict.Bar(metric.AnomaliesTotal, failed, "≥", scenario.BarBadSignatures)
	counted := verdict.Reached(ctx, "bad signatures counted", a.Left(scenario.WaitSettle), scenario.BarBadSignatures, "signatures",
		seen(s, a, metric.AnomaliesTotal, failed))
	verdict.AtLeast("bad signatures counted", counted, scenario.BarBadSignatures, "signatures")
}

// seen is a question: by how much has a counter grown in each node that sees the attack, up to now or until what was
// counted at its end was scraped?
func seen(s *scenario.Run, a *scenario.Attack, counter string, labels prom.Labels) func(context.Context) (map[string]float64, error) {
	return func(ctx context.Context) (map[string]float64, error) {
		return s.Prom.Growth(counter, labels, a.Seen())(ctx)
	}
}

// judgeFailureRate wants one episode on each node that saw the attack, and still one when
// its tail is over.
func judgeFailureRate(ctx SpecContext, s *scenario.Run, a *scenario.Attack) {
	GinkgoHelper()
	verdict.Must(phase(s.Name+": tail", func() error { return a.AwaitTail(ctx) }))
	high := prom.Labels{metric.LabelType: metric.HighFailureRate}
	verdict.Bar(metric.AnomaliesTotal, high, "=", scenario.BarEpisodes)
	seen := ask(ctx, scenario.WaitScraped, s.Prom.Growth(metric.AnomaliesTotal, high, a.Watched()))
	verdict.Equal("episodes of a high failure rate", seen, scenario.BarEpisodes, "episodes")
	verdict.Must(a.Loop().Analyzed(ctx)) // one incident, and it names the suspect
}

// judgeInvalidation wants each node to invalidate its session with the suspect in time,
// and the kernel to drop what comes under it afterwards.
func judgeInvalidation(ctx SpecContext, s *scenario.Run, a *scenario.Attack) {
	GinkgoHelper()
	revoked := prom.Labels{metric.LabelVerdict: metric.VerdictRevoked}
	verdict.Bar(metric.PacketsTotal, revoked, "≥", 1)
	verdict.Bar(metric.SessionsInvalidatedTotal, nil, "≥", 1)
	dropped := counts(seen(s, a, metric.PacketsTotal, revoked), BeNumerically(">=", 1))
	counted := counts(seen(s, a, metric.SessionsInvalidatedTotal, nil), BeNumerically(">=", 1))
	var sinceFirst verdict.Times
	// What the kernel does comes first: a count of actions is no effect.
	took := verdict.Reacted(ctx, "from the failure that calls for it", a.Left(scenario.WaitSettle), scenario.BarInvalidated,
		after(dropped, after(counted, func(ctx context.Context) (took verdict.Times, err error) {
			took, sinceFirst, err = a.Invalidated(ctx)
			return took, err
		})))
	AddReportEntry("from the first bad signature", sinceFirst, ReportEntryVisibilityFailureOrVerbose)
	verdict.Time("from the failure that calls for it", took, scenario.BarInvalidated, 0)
}

// judgeInnocents wants nothing to befall a session with anybody else, by the journals, by what
// Prometheus has of invalidations and by the ids that the sessions had before, until the tail is over.
func judgeInnocents(ctx SpecContext, a *scenario.Attack, before map[string]string) {
	GinkgoHelper()
	verdict.Must(a.AwaitTail(ctx))
	innocents, err := a.Innocents(ctx)
	verdict.Must(err)
	counted, err := a.Unexplained(ctx)
	verdict.Must(err)
	innocents = append(innocents, counted...)
	if err := a.Unharmed(ctx, before); verdict.Of(err) == report.Failed {
		innocents = append(innocents, err.Error())
	} else {
		verdict.Must(err)
	}
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
