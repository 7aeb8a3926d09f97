package e2e

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
)

// eventually asks Prometheus, or a node, until the answer will do.
func eventually(ctx context.Context, ask any) AsyncAssertion {
	GinkgoHelper()
	return Eventually(ctx, ask).WithPolling(verdict.Poll)
}

// judgeRecords holds what every node lists against what clients were promised.
func judgeRecords(ctx context.Context, s *scenario.Run) {
	GinkgoHelper()
	v, err := s.AwaitRecords(ctx)
	verdict.Must(err)
	AddReportEntry("acknowledged records", v.Acknowledged, ReportEntryVisibilityFailureOrVerbose)
	verdict.None("records", v.Defects(), scenario.BarDefects, "records", v.Err())
}

// judgeAlert waits until an alert has gone its whole way in a scenario: from
// inactive to pending, to firing, and away again after the fault.
func judgeAlert(ctx context.Context, s *scenario.Run, name string, e *scenario.Episode) {
	GinkgoHelper()
	judgeLife(ctx, s, name, e, alert.Resolved)
}

// judgeFiring waits until an alert fires in a scenario.
func judgeFiring(ctx context.Context, s *scenario.Run, name string, e *scenario.Episode) {
	GinkgoHelper()
	judgeLife(ctx, s, name, e, alert.Firing)
}

func judgeLife(ctx context.Context, s *scenario.Run, name string, e *scenario.Episode, state string) {
	GinkgoHelper()
	var life alert.Life
	eventually(ctx, func(ctx context.Context) (_ string, err error) {
		life, err = alert.New(s.Prom).Life(name, e.Window.Since())(ctx)
		return life.State(), err
	}).WithTimeout(scenario.WaitAlert).Should(Equal(state), "the state of alert %s", name)
	AddReportEntry("life of "+name, life, ReportEntryVisibilityFailureOrVerbose)
	verdict.Measured("from the fault to the alert", life.Firing.Sub(e.Window.Start))
}

// judgeLeftBehind takes the faults and the mesh away and looks for what they
// left.
func judgeLeftBehind(ctx SpecContext, s *scenario.Run) {
	GinkgoHelper()
	if kept(s) {
		Skip("-keep leaves a failed scenario as it is")
	}
	makeAhead(s.Name)
	collect(ctx, s) // before the mesh goes
	left, err := remove(ctx, s)
	verdict.Must(err)
	verdict.None("left behind", len(left), scenario.BarLeftBehind, "things", left)
}

// judgeOperations wants every operation through the Service since a time to be
// answered within the client's retry budget, and no session to be seen older
// than it was. What it took, attempt by attempt, is kept beside the verdict.
func judgeOperations(ctx context.Context, s *scenario.Run, since time.Time) {
	GinkgoHelper()
	ops, err := s.Operations(ctx)
	verdict.Must(err)
	v := verify.ThroughService(ops, since, verify.Last(ops))
	if v.Operations < scenario.LeastOperations {
		verdict.Invalidf("clients asked for %d operations only: too little traffic", v.Operations)
	}
	AddReportEntry("operations through the Service", fmt.Sprintf("%d in %d attempts, of which %d failed; at most %d for one, the slowest took %v",
		v.Operations, v.Attempts, v.FailedAttempts, v.Most, v.Slowest.Round(time.Millisecond)), ReportEntryVisibilityAlways)
	regressed := verify.Regressed(ops)
	verdict.None("operations", len(v.Failed)+len(regressed), scenario.BarFailedOperations, "operations",
		fmt.Sprint(v.Err(), " ", regressed))
}
