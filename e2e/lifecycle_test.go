package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/live"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

// current is the scenario under way in this process.
var current *scenario.Run

// phase runs a part of a scenario, which is named first, and tells of it.
func phase(name string, f func() error) error {
	GinkgoHelper()
	_, step, _ := strings.Cut(name, ": ")
	suite.live.Send(live.Event{Kind: live.Step, Text: step})
	return verdict.Phase(name, f)
}

// tellVerdict tells who shows the run how a spec was judged.
func tellVerdict() {
	r := CurrentSpecReport()
	c := live.CriterionOf(report.Judge(r), "")
	suite.live.Send(live.Event{Kind: live.Judged, Criterion: &c})
}

// begin starts a scenario: a fresh mesh, and the proof that it is well. What goes wrong
// up to there makes the scenario invalid.
func begin(ctx SpecContext, sc *scenario.Scenario) *scenario.Run {
	GinkgoHelper()
	current = nil
	m, err := take(sc)
	verdict.Must(err)
	s := m.run
	current = s
	DeferCleanup(func(ctx SpecContext) {
		m.stop()
		finish(ctx, s)
	}, NodeTimeout(scenario.WaitCollect+scenario.WaitCleanup))
	verdict.Must(phase(sc.Name+": mesh", func() error { return m.wait(ctx) }))
	verdict.Must(phase(sc.Name+": until it is well", func() error { return s.Settle(ctx) }))
	return s
}

// observe waits until there is a baseline to compare with: so many critical
// verifications of each node.
func observe(ctx SpecContext, s *scenario.Run, least int) {
	GinkgoHelper()
	verdict.Must(phase(s.Name+": baseline", func() error { return s.Observe(ctx, least) }))
}

// disturb injects a fault and proves that it bites. What goes wrong up to there
// makes the scenario invalid.
func disturb[F any](ctx SpecContext, s *scenario.Run, inject func(context.Context, string) (F, error), fixture string) F {
	GinkgoHelper()
	var f F
	verdict.Must(phase(s.Name+": inject "+fixture, func() (err error) {
		f, err = inject(ctx, fixture)
		return err
	}))
	return f
}

// heal waits until a fault is over.
func heal(ctx SpecContext, e *scenario.Episode) {
	GinkgoHelper()
	if e.Healed() {
		return
	}
	verdict.Must(phase(e.Name+": until it is over", func() error { return e.AwaitHeal(ctx) }))
}

// remove takes the fault back and looks for what it left, then removes the
// mesh and looks again.
func remove(ctx SpecContext, s *scenario.Run) (left []string, err error) {
	err = phase(s.Name+": withdraw", func() error {
		left, err = s.Withdraw(ctx)
		return err
	})
	if err != nil {
		return left, err
	}
	err = s.InTurn(ctx, func() error {
		return phase(s.Name+": remove", func() error {
			more, err := s.Remove(ctx)
			left = append(left, more...)
			return err
		})
	})
	return left, err
}

// finish keeps what can be known of a scenario and removes it. It runs in a
// context of its own, also after a failure, a panic or an interrupt.
func finish(ctx SpecContext, s *scenario.Run) {
	if a := s.Aborted(); a != nil { // before all else: it hurts
		AddReportEntry(report.EntryAborted, *a, ReportEntryVisibilityNever)
		left, err := s.TakeBack(ctx)
		for _, l := range left {
			err = errors.Join(err, errors.New(l))
		}
		cleaned("take back the faults of scenario "+s.Name, err)
	}
	AddReportEntry(report.EntryFault, s.Fault(), ReportEntryVisibilityNever)
	collect(ctx, s)
	if kept(s) {
		fmt.Fprintf(os.Stderr, "e2e: kept for you to look at: namespace %s\n", s.Mesh.Namespace)
		return
	}
	left, err := s.Remove(ctx)
	for _, l := range left {
		err = errors.Join(err, errors.New(l))
	}
	cleaned("remove scenario "+s.Name, err)
}

// collect keeps what can be known of a scenario. What cannot be had is said,
// and is no verdict on the mesh.
func collect(ctx SpecContext, s *scenario.Run) {
	if err := s.Collect(ctx); err != nil {
		AddReportEntry("artefacts are missing", err.Error(), ReportEntryVisibilityFailureOrVerbose)
	}
}

// kept tells whether a scenario is to be left as it is.
func kept(s *scenario.Run) bool {
	return suite.options.keep && (suite.failed[s.Name] || CurrentSpecReport().Failed())
}
