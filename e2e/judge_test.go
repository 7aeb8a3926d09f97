package e2e

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/dashboard"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// ask asks until there is an answer. At the deadline a shortfall has failed, and an error
// is what it stands for.
func ask[T any](ctx context.Context, within time.Duration, question func(context.Context) (T, error)) T {
	GinkgoHelper()
	var answer T
	verdict.EventuallyHolds(ctx, within, func(ctx context.Context) (err error) {
		answer, err = question(ctx)
		return err
	})
	return answer
}

// after is a question that is asked once what must hold before it does.
func after(first func(context.Context) error, question func(context.Context) (verdict.Times, error)) func(context.Context) (verdict.Times, error) {
	return func(ctx context.Context) (verdict.Times, error) {
		if err := first(ctx); err != nil {
			return nil, err
		}
		return question(ctx)
	}
}

// counts asks whether each of several values is as wanted. That one is not is a shortfall.
func counts(question func(context.Context) (map[string]float64, error), wanted types.GomegaMatcher) func(context.Context) error {
	return func(ctx context.Context) error {
		values, err := question(ctx)
		if err != nil {
			return err
		}
		each := HaveEach(wanted)
		if ok, err := each.Match(values); err != nil || ok {
			return err
		}
		return verdict.Shortf("%s", each.FailureMessage(values))
	}
}

// judgeRecords holds what every node has against what clients were promised.
func judgeRecords(ctx context.Context, s *scenario.Run) {
	GinkgoHelper()
	v, err := s.AwaitRecords(ctx)
	if verdict.Of(err) != report.Failed {
		verdict.Must(err)
	}
	if v.Acknowledged == 0 {
		verdict.Invalidf("no record was acknowledged at all: too little traffic")
	}
	AddReportEntry("acknowledged records", v.Acknowledged, ReportEntryVisibilityFailureOrVerbose)
	verdict.None("records", v.Defects(), 0, "records", v.Err())
}

// judgeAcknowledged wants writes to be acknowledged in a window.
func judgeAcknowledged(ctx context.Context, s *scenario.Run, w prom.Window) {
	GinkgoHelper()
	ops, err := s.Operations(ctx)
	verdict.Must(err)
	skew := ask(ctx, scenario.WaitAnswer, s.Skew(scenario.ClockOfClients))
	tried, acknowledged := 0, 0
	for _, t := range verify.Writes(ops, w.Start.Add(skew), w.End.Add(-skew)) {
		tried, acknowledged = tried+t.Tried, acknowledged+t.Acknowledged
	}
	if tried == 0 {
		verdict.Invalidf("nobody wrote while the fault lasted: too little traffic")
	}
	if acknowledged == 0 {
		verdict.Must(verdict.Shortf("of %d writes none was acknowledged while the fault lasted", tried))
	}
}

// judgeAlert waits until an alert has come to a state in an episode: from inactive to
// pending, to firing, within the fault, and away again after it.
func judgeAlert(ctx context.Context, s *scenario.Run, name string, e *scenario.Episode, state string) {
	GinkgoHelper()
	var life alert.Life
	verdict.Holds(ctx, scenario.WaitAlert, func(ctx context.Context) (err error) {
		life, err = alert.New(s.Prom).Life(name, e.Window.Since())(ctx)
		if err == nil {
			err = e.Came(name, life, state)
		}
		return err
	})
	AddReportEntry("life of "+name, life, ReportEntryVisibilityFailureOrVerbose)
	verdict.Measured("from the fault to the alert", life.Firing.Sub(e.Window.Start))
	verdict.Must(e.Own(name, life, ask(ctx, scenario.WaitAnswer, s.Skew(scenario.ClockOfPrometheus))))
}

// judgeResolution wants the alert about healing to resolve as long after what a crash's survivors did as its rule looks back.
// Only a nightly run has the time.
func judgeResolution(ctx context.Context, s *scenario.Run, crash *scenario.Crash) {
	GinkgoHelper()
	if !s.Nightly() {
		return
	}
	alerts := alert.New(s.Prom)
	rule := ask(ctx, scenario.WaitAnswer, alerts.Rule(alert.HealingTriggered))
	verdict.Must(phase(s.Name+": until the alert is due to resolve", func() error { return crash.Loop().AwaitDue(ctx, rule) }))
	verdict.Holds(ctx, scenario.WaitAlert, func(ctx context.Context) error {
		fired, err := alerts.Fired(alert.HealingTriggered, crash.Window.Since())(ctx)
		if err != nil {
			return err
		}
		return crash.Loop().Resolved(ctx, fired, rule)
	})
}

// judgeDashboard wants every query of the dashboard to answer with numbers in a window:
// where it tells pods apart, for each of them.
func judgeDashboard(ctx context.Context, s *scenario.Run, w prom.Window) {
	GinkgoHelper()
	queries, err := dashboard.Queries(s.Mesh.Namespace)
	verdict.Must(err)
	var clients, blank []string
	for _, p := range ask(ctx, scenario.WaitAnswer, func(ctx context.Context) ([]corev1.Pod, error) { return s.Mesh.Pods(ctx, mesh.ClientApp) }) {
		clients = append(clients, p.Name)
	}
	for _, q := range queries {
		numbers := ask(ctx, scenario.WaitAnswer, func(ctx context.Context) (map[string]bool, error) { return s.Prom.Numbers(ctx, q.Expr, w) })
		pods := w.Pods
		if strings.Contains(q.Expr, metric.Namespace+"_client_") {
			pods = clients
		}
		if why := dashboard.Blank(numbers, pods); why != "" {
			blank = append(blank, fmt.Sprintf("%s: %s", q, why))
		}
	}
	verdict.None("panels without numbers", len(blank), 0, "queries", blank)
}

// judgeLeftBehind takes the faults and the mesh away and looks for what they left.
func judgeLeftBehind(ctx SpecContext, s *scenario.Run) {
	GinkgoHelper()
	if s == nil {
		verdict.Invalidf("the scenario never began")
	}
	if kept(s) {
		Skip("-keep leaves a failed scenario as it is")
	}
	makeAhead(s.Name)
	collect(ctx, s) // before the mesh goes
	left, err := remove(ctx, s)
	verdict.Must(err)
	verdict.None("left behind", len(left), 0, "things", left)
}

// judgeOperations wants every operation through the Service in a window to be answered
// within the client's retry budget, every client to be served all the time, and no session
// to be seen older than it was. What it took, attempt by attempt, is kept beside it.
func judgeOperations(ctx context.Context, s *scenario.Run, w prom.Window) {
	GinkgoHelper()
	ops := ask(ctx, scenario.WaitSettle, func(ctx context.Context) ([]api.Operation, error) { return s.OperationsUntil(ctx, w.End) })
	v := scenario.Serve(ops, w)
	AddReportEntry("operations through the Service", fmt.Sprintf("%d of %d clients in %d attempts, of which %d failed; at most %d for one, the slowest took %v; each client at least %.2f a second, at most %v without an answer",
		v.Operations, len(v.Paces), v.Attempts, v.FailedAttempts, v.Most, v.Slowest.Round(time.Millisecond), v.Rate, v.Gap.Round(time.Millisecond)), ReportEntryVisibilityAlways)
	if len(v.Paces) == 0 {
		verdict.Must(v.Err())
	}
	verdict.None("operations", v.Defects(), 0, "operations", v.Err())
	verdict.Must(v.Err())
}
