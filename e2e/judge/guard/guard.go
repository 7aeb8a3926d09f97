// Package guard finds out when a scenario does more harm than its fault is to do, so that
// the fault can be taken back at once: by an expression that whoever runs the suite gives,
// and by recording clients that nobody serves although there is no fault.
package guard

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/e2e/observe/pulse"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

const (
	// Unserved is how long a recording client may go without an operation that succeeds
	// while there is no fault.
	Unserved = 30 * time.Second
	// Off is an expression that turns every guard off.
	Off = "off"
	// Namespace stands in an expression for the namespace of the scenario's mesh, as in the
	// dashboard's queries.
	Namespace = "$namespace"
)

// Guard watches over one scenario's mesh.
type Guard struct {
	Prometheus pulse.Querier
	Namespace  string // of the mesh
	// Expression is PromQL, as an alert's: what it returns is a reason to stop. Empty: none.
	// Off turns off what is watched without it, too.
	Expression string
}

// Look returns why the scenario must stop, or nothing. calm is since when there has been no
// fault; zero while there is one. That Prometheus does not answer is an error, and no
// reason to stop.
func (g Guard) Look(ctx context.Context, calm, now time.Time) (*report.Abort, error) {
	if g.Expression == Off {
		return nil, nil
	}
	var failed error
	if g.Expression != "" {
		a, err := g.ask(ctx, g.Expression, now)
		if a != nil {
			return a, nil
		}
		failed = err // the clients are watched all the same
	}
	if calm.IsZero() || now.Sub(calm) < Unserved {
		return nil, failed
	}
	a, err := g.ask(ctx, unserved, now)
	if a != nil {
		return a, nil
	}
	return nil, errors.Join(failed, err)
}

// unserved are the recording clients that nobody serves, and for how many seconds: as of
// when each was asked, so that neither a Prometheus that is late nor the clock of who runs
// the suite has a part in it. One whose metrics cannot be read is none of them.
var unserved = fmt.Sprintf("max by (%[1]s) (timestamp(%[2]s) - %[2]s) > %[3]g", prom.LabelPod,
	prom.Selector(metric.ClientLastOK, Namespace, nil), Unserved.Seconds())

// Check reports whether the server takes an expression; the error wraps ErrExpression if it
// does not.
func Check(ctx context.Context, q pulse.Querier, expression string, now time.Time) error {
	if expression == "" || expression == Off {
		return nil
	}
	_, err := Guard{Prometheus: q, Namespace: "none", Expression: expression}.ask(ctx, expression, now)
	if e, ok := errors.AsType[*promv1.Error](err); ok && e.Type == promv1.ErrBadData {
		return fmt.Errorf("%w: %w", ErrExpression, err)
	}
	return err
}

// ErrExpression says that an expression is no PromQL, or returns nothing that an alert could
// be of.
var ErrExpression = errors.New("no expression to abort on")

// ask evaluates an expression. A vector's first sample is the reason to stop; a scalar is
// one if it is not 0.
func (g Guard) ask(ctx context.Context, expression string, now time.Time) (*report.Abort, error) {
	query := strings.ReplaceAll(expression, Namespace, g.Namespace)
	v, _, _, err := g.Prometheus.Query(ctx, query, now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	a := &report.Abort{Expression: query, At: now.UTC()}
	switch v := v.(type) {
	case model.Vector:
		if len(v) == 0 {
			return nil, nil
		}
		a.Value, a.Series = v[0].Value.String(), series(v[0].Metric)
	case *model.Scalar:
		if v.Value == 0 || math.IsNaN(float64(v.Value)) {
			return nil, nil
		}
		a.Value = v.Value.String()
	default:
		return nil, fmt.Errorf("%w: %s: is a %s", ErrExpression, query, v.Type())
	}
	return a, nil
}

// series is a series for a person; nothing if it has no labels.
func series(m model.Metric) string {
	if len(m) == 0 {
		return ""
	}
	return m.String()
}
