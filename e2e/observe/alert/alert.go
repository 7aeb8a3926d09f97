// Package alert tells what became of Prometheus' alerts in one namespace: the
// life of one from pending to resolved, and whether all were silent.
//
// The rules stand in manifests/prometheus/rules.yaml; their own tests, with
// promtool, are in testdata.
package alert

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The alerts of the design document, and two of this project's.
const (
	VerificationFailureSpike = "PQCVerificationFailureSpike"
	NodeUnreachable          = "MeshNodeUnreachable"
	HealingTriggered         = "MAPEKHealingTriggered"
	StorageFault             = "MeshStorageFault"
	ClockSkew                = "MeshClockSkew"
)

// Step is the resolution of a Life: Prometheus evaluates its rules once a
// second.
const Step = time.Second

const (
	labelNamespace = "namespace"
	// stale is how long before its time a rule that is evaluated every Step may have been
	// evaluated last.
	stale = 5 * time.Second
)

// reads is what each alert's rule reads. Without these series the alert is
// silent, whatever happens.
var reads = map[string]struct {
	metric string
	labels prom.Labels
}{
	VerificationFailureSpike: {metric.AnomaliesTotal, prom.Labels{metric.LabelType: metric.VerificationFailed}},
	NodeUnreachable:          {metric.PeerStatus, prom.Labels{metric.LabelStatus: metric.StatusUnreachable}},
	HealingTriggered:         {metric.HealingActionsTotal, nil},
	StorageFault:             {metric.IncidentsOpen, prom.Labels{metric.LabelType: metric.StorageFault}},
	ClockSkew:                {metric.IncidentsOpen, prom.Labels{metric.LabelType: metric.ClockSkew}},
}

// Reader asks one Prometheus server about its alerts.
type Reader struct {
	prom *prom.Client
	now  func() time.Time
}

// New returns a reader that asks with a client.
func New(c *prom.Client) *Reader { return &Reader{prom: c, now: time.Now} }

// Active returns a question for Eventually: which alerts of the namespace are
// pending or firing now? It is what /api/v1/alerts answers.
func (r *Reader) Active(namespace string) func(context.Context) ([]promv1.Alert, error) {
	return func(ctx context.Context) ([]promv1.Alert, error) {
		all, err := r.prom.API().Alerts(ctx)
		if err != nil {
			return nil, fmt.Errorf("alerts: %w", err)
		}
		return slices.DeleteFunc(all.Alerts, func(a promv1.Alert) bool {
			return string(a.Labels[labelNamespace]) != namespace
		}), nil
	}
}

// Life returns a question for Eventually: what has become of an alert since the
// window's start? Whatever series of the namespace it is about, they are one
// alert here, but for those that were active when the window opened: their beginning
// was not seen, so their cause cannot be in the window. If there are no others, that
// is an error.
func (r *Reader) Life(name string, w prom.Window) func(context.Context) (Life, error) {
	return func(ctx context.Context) (Life, error) {
		series, err := r.series(ctx, w, "alertname="+strconv.Quote(name))
		if err != nil {
			return Life{}, err
		}
		begun, earlier := since(series, w.Start.Add(Step))
		if len(begun) == 0 && len(earlier) > 0 {
			return Life{}, fmt.Errorf("alert %s in %s was active already when the window opened: %s", name, w.Namespace, about(earlier[0].Metric))
		}
		return lifeOf(begun, w.Until(r.now())), nil
	}
}

// Fired is an alert about one series that fired. Its times are late by less than Step and an evaluation.
type Fired struct {
	Labels map[string]string // of the series
	At     time.Time         // when it first fired
	// Resolved is when it had stopped firing for the last time; zero while it fires.
	Resolved time.Time
	// Before is whether it was active when the window opened: of what came then it tells nothing.
	Before bool
}

// Fired returns a question for Eventually: about which series of the namespace has an alert fired
// since the window's start?
func (r *Reader) Fired(name string, w prom.Window) func(context.Context) ([]Fired, error) {
	return func(ctx context.Context) ([]Fired, error) {
		series, err := r.series(ctx, w, "alertname="+strconv.Quote(name))
		if err != nil {
			return nil, err
		}
		begun, earlier := since(series, w.Start.Add(Step))
		end := w.Until(r.now())
		return slices.Concat(firing(begun, false, end), firing(earlier, true, end)), nil
	}
}

// firing are those of series that fired, which were sampled up to end.
func firing(series model.Matrix, before bool, end time.Time) (fired []Fired) {
	for _, s := range series {
		if s.Metric[labelState] != Firing {
			continue
		}
		f := Fired{Labels: map[string]string{}, At: s.Values[0].Timestamp.Time(), Before: before}
		if gone := s.Values[len(s.Values)-1].Timestamp.Time().Add(Step); !gone.After(end) {
			f.Resolved = gone
		}
		for name, value := range s.Metric {
			f.Labels[string(name)] = string(value)
		}
		fired = append(fired, f)
	}
	return fired
}

// series returns the series ALERTS of the window, sampled once per Step.
func (r *Reader) series(ctx context.Context, w prom.Window, matchers ...string) (model.Matrix, error) {
	matchers = append([]string{labelNamespace + "=" + strconv.Quote(w.Namespace)}, matchers...)
	query := "ALERTS{" + strings.Join(matchers, ",") + "}"
	value, _, _, err := r.prom.API().QueryRange(ctx, query, promv1.Range{Start: w.Start, End: w.Until(r.now()), Step: Step})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	series, ok := value.(model.Matrix)
	if !ok {
		return nil, fmt.Errorf("%s: got a %s, want a matrix", query, value.Type())
	}
	return series, nil
}

// Silent returns a question for Eventually, to be asked when the window is over:
// which alerts have fired in it or were pending, about whom, and from when on? None is silence, and silence
// means something only if every rule is loaded, was evaluated without an error until the
// window's end, and each of the window's pods has the series that it reads; anything else is an
// error. Whether they were scraped all the while is for Covered to say, which is more work.
func (r *Reader) Silent(w prom.Window) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		w := w
		w.End = w.Until(r.now())
		if err := r.listening(ctx, w); err != nil {
			return nil, err
		}
		series, err := r.series(ctx, w)
		if err != nil {
			return nil, err
		}
		var fired []string
		for _, s := range series {
			fired = append(fired, about(s.Metric)+" from "+s.Values[0].Timestamp.Time().UTC().Format(time.TimeOnly))
		}
		slices.Sort(fired)
		return fired, nil
	}
}

// Covered returns a question for Eventually, to be asked once: was each of the window's pods scraped in enough of the window for the
// series that the rules read?
func (r *Reader) Covered(w prom.Window) func(context.Context) (struct{}, error) {
	return func(ctx context.Context) (none struct{}, err error) {
		w := w
		w.End = w.Until(r.now())
		for _, name := range slices.Sorted(maps.Keys(reads)) {
			if _, err := r.prom.Growth(reads[name].metric, reads[name].labels, w)(ctx); err != nil {
				return none, fmt.Errorf("alert %s: %w", name, err)
			}
		}
		return none, nil
	}
}

// about says in short which alert it is and of what: its own labels, without those
// that all have.
func about(m model.Metric) string {
	parts := []string{string(m[model.AlertNameLabel])}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		switch name {
		case model.MetricNameLabel, model.AlertNameLabel, labelState, labelNamespace, "instance", "job", "severity", "zone":
		default:
			parts = append(parts, string(name)+"="+string(m[name]))
		}
	}
	return strings.Join(parts, " ")
}

// listening checks that each alert would fire if it had to.
func (r *Reader) listening(ctx context.Context, w prom.Window) error {
	all, err := r.rules(ctx)
	if err != nil {
		return err
	}
	for name, s := range reads {
		rule, ok := all[name]
		switch {
		case !ok:
			return noRule(name)
		case rule.Health != promv1.RuleHealthGood:
			return fmt.Errorf("alert %s: the rule's health is %q: %s", name, rule.Health, rule.LastError)
		case rule.LastEvaluation.Before(w.End.Add(-stale)):
			return fmt.Errorf("alert %s: the rule was last evaluated at %s, before the window's end", name, rule.LastEvaluation.Format(time.RFC3339))
		}
		if _, err := r.prom.Now(s.metric, s.labels, w.Namespace, w.Pods)(ctx); err != nil {
			return fmt.Errorf("alert %s: %w", name, err)
		}
	}
	return nil
}
