package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Again judges a finished run once more from its artefacts: by its journals, its clients'
// history, and the logs of its probers and attackers, with the functions that judged it live
// and the bars as they are now. What Prometheus or the API server were asked besides is not
// judged again; such a criterion is judged in part, and one of which nothing else is known is
// left out. What an artefact lacks makes a criterion invalid.
func (r *Run) Again(ctx context.Context) []report.Criterion {
	var all []report.Criterion
	for _, c := range r.Criteria {
		judge := r.again(c.ID)
		if judge == nil {
			continue
		}
		m, err := judge(ctx)
		again := report.Criterion{ID: c.ID, Verdict: verdict.Of(err), Expected: m.Expected, Unit: m.Unit}
		if m.Expected != "" {
			again.Measured = &m.Measured
		}
		if err != nil {
			again.Detail = err.Error()
		}
		all = append(all, again)
	}
	return all
}

// judgement is what is asked of artefacts for one criterion.
type judgement func(context.Context) (report.Measurement, error)

// again returns how a criterion is judged from artefacts; nil if it cannot be.
func (r *Run) again(id string) judgement {
	if r.Design != "" && len(id) == 4 && id[:3] == "S"+r.Design+"." {
		if l := r.loop(); l != nil {
			switch id[3] {
			case 'A':
				return holds(l.Analyzed)
			case 'P':
				return holds(l.Planned)
			case 'E':
				return holds(l.Executed)
			case 'X':
				return none("incidents", r.Misdiagnoses)
			}
		}
	}
	split, attack, crash := first[*Partition](r), first[*Attack](r), first[*Crash](r)
	stress, failure := first[*Stress](r), first[*Failure](r)
	switch {
	case id == "S1.1" && split != nil:
		return inTime(BarRecognised, ProbeSlack, split.Recognised)
	case id == "S1.2" && split != nil:
		return inTimeBy(r.Apart(append(split.Ends(), ClockOfPrometheus)...), BarRerouted, ProbeSlack, split.Rerouted)
	case id == "S1.4" && split != nil && r.Probes != nil:
		return inTimeBy(r.Apart(split.Ends()...), BarSessionsBack, ProbeSlack, split.Reverified)
	case id == "S2.3" && attack != nil:
		return inTime(BarInvalidated, 0, func(ctx context.Context) (verdict.Times, error) {
			took, _, err := attack.Invalidated(ctx)
			return took, err
		})
	case id == "S2.4" && attack != nil:
		return inTimeBy(r.Apart(r.Nodes...), BarRotated, 0, attack.Rotated)
	case id == "S2.5" && attack != nil:
		return none("sessions", attack.Innocents)
	case id == "S2.6" && failure != nil:
		return r.served(failure.Episode)
	case id == "S3.2" && crash != nil && !crash.GoneAt.IsZero():
		return inTimeBy(crash.Apart, BarMigrated, ProbeSlack, func(ctx context.Context) (verdict.Times, error) {
			t, err := crash.takeover(ctx)
			return verdict.Times(t.Took), err
		})
	case id == "S3.3" && crash != nil:
		return r.served(crash.Episode)
	case id == "S3.4" && crash != nil:
		return holds(crash.Loop().Executed)
	case id == "S5.3" && stress != nil:
		return r.served(stress.Episode)
	}
	return nil
}

// first returns the run's first fault of a type, or nothing.
func first[F any](r *Run) (none F) {
	for _, f := range r.faults {
		if f, ok := f.(F); ok {
			return f
		}
	}
	return none
}

// loop is what the nodes' loop is expected to do about the run's own fault.
func (r *Run) loop() *Loop {
	for _, f := range r.faults {
		if l, ok := f.(interface{ Loop() *Loop }); ok {
			return l.Loop()
		}
	}
	return nil
}

// holds is a judgement of yes or no.
func holds(check func(context.Context) error) judgement {
	return func(ctx context.Context) (report.Measurement, error) {
		err := check(ctx)
		m := report.Measurement{Expected: "yes", Measured: 1}
		if err != nil {
			m.Measured = 0
		}
		return m, err
	}
}

// inTime is a judgement of times against a bar.
func inTime(bar, slack time.Duration, ask func(context.Context) (verdict.Times, error)) judgement {
	return func(ctx context.Context) (report.Measurement, error) {
		took, err := ask(ctx)
		if err != nil {
			return report.Measurement{}, err
		}
		_, worst := took.Worst()
		return report.Measurement{Expected: fmt.Sprintf("≤ %g", bar.Seconds()), Measured: worst.Seconds(), Unit: "s"}, took.Within("from the artefacts", bar, slack)
	}
}

// inTimeBy is inTime of times by several clocks: how far those may lie apart is more slack.
func inTimeBy(apart func(context.Context) (time.Duration, error), bar, slack time.Duration, ask func(context.Context) (verdict.Times, error)) judgement {
	return func(ctx context.Context) (report.Measurement, error) {
		took, err := ask(ctx)
		if err != nil {
			return report.Measurement{}, err
		}
		skew, err := apart(ctx)
		if err != nil {
			return report.Measurement{}, err
		}
		return inTime(bar, slack+skew, func(context.Context) (verdict.Times, error) { return took, nil })(ctx)
	}
}

// none is a judgement of defects, of which there must be none.
func none(unit string, ask func(context.Context) ([]string, error)) judgement {
	return func(ctx context.Context) (report.Measurement, error) {
		found, err := ask(ctx)
		if err != nil {
			return report.Measurement{}, err
		}
		m := report.Measurement{Expected: "≤ 0", Measured: float64(len(found)), Unit: unit}
		if len(found) > 0 {
			return m, verdict.Shortf("%v", found)
		}
		return m, nil
	}
}

// served is the judgement of what clients saw in an episode and its tail.
func (r *Run) served(e *Episode) judgement {
	return func(ctx context.Context) (report.Measurement, error) {
		w := e.Tailed()
		ops, err := r.OperationsUntil(ctx, w.End)
		if err != nil {
			return report.Measurement{}, err
		}
		s := Serve(ops, w)
		return report.Measurement{Expected: "≤ 0", Measured: float64(s.Defects()), Unit: "operations"}, s.Err()
	}
}

// Service is what clients saw of the mesh through its Service in a window.
type Service struct {
	verify.Service
	Paces     []verify.Pace
	Hung      []verify.Pace
	Regressed []verify.Defect
	Rate      float64       // of the slowest client, in operations a second
	Gap       time.Duration // the longest that one went without an answer
}

// Serve judges clients' operations in a window: every one is answered within the client's retry
// budget, every client is served all the time, and no session is seen older than it was.
func Serve(ops []api.Operation, w prom.Window) Service {
	s := Service{Service: verify.ThroughService(ops, w.Start, w.End), Paces: verify.Paces(ops, w.Start, w.End), Regressed: verify.Regressed(ops)}
	s.Rate, s.Gap = verify.Slowest(s.Paces)
	s.Hung = verify.Hung(s.Paces, BarClientGap)
	return s
}

// Defects is how much was not as it must be.
func (s Service) Defects() int { return len(s.Failed) + len(s.Regressed) + len(s.Hung) }

// Err says what was not as it must be, or that too little was asked to tell.
func (s Service) Err() error {
	switch {
	case len(s.Paces) == 0:
		return verdict.Unproven(errors.New("no client has asked through the Service: too little traffic"))
	case s.Defects() > 0:
		return verdict.Shortf("%v %v %v", s.Service.Err(), s.Regressed, s.Hung)
	case s.Rate < LeastRate:
		return verdict.Unproven(fmt.Errorf("a client asked %.2f times a second only, %g are needed: too little traffic", s.Rate, LeastRate))
	}
	return nil
}
