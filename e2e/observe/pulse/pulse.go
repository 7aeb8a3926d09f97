// Package pulse looks at a mesh while it is being judged, in two cheap questions to
// Prometheus: how its recording clients fare, and which incidents its nodes have open.
// Nothing is judged by it.
package pulse

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// over is the range of a rate: some scrapes, so that one that is late does not show.
const over = 5 * prom.ScrapeInterval

// Beat is what is seen in one look.
type Beat struct {
	// Operations and Failures are of all recording clients, per second.
	Operations, Failures float64
	// Clients tells whether there was anything to count.
	Clients bool
	// Incidents are those that are open, sorted.
	Incidents []Incident
}

// Incident is one type of incident that a node has open.
type Incident struct{ Node, Type string }

// Querier is the part of Prometheus' own client that is needed.
type Querier interface {
	Query(ctx context.Context, query string, ts time.Time, opts ...promv1.Option) (model.Value, promv1.Warnings, promv1.Infos, error)
}

// Look asks about the mesh in a namespace.
func Look(ctx context.Context, q Querier, namespace string, now time.Time) (Beat, error) {
	var b Beat
	rates, err := vector(ctx, q, fmt.Sprintf("sum by (%s) (rate(%s[%ds]))", metric.LabelResult,
		prom.Selector(metric.ClientOperationsTotal, namespace, nil), int(over.Seconds())), now)
	if err != nil {
		return b, err
	}
	for _, s := range rates {
		b.Clients = true
		b.Operations += float64(s.Value)
		if s.Metric[metric.LabelResult] != model.LabelValue(api.OK) {
			b.Failures += float64(s.Value)
		}
	}
	open, err := vector(ctx, q, prom.Selector(metric.IncidentsOpen, namespace, nil)+" > 0", now)
	if err != nil {
		return b, err
	}
	for _, s := range open {
		b.Incidents = append(b.Incidents, Incident{string(s.Metric[prom.LabelPod]), string(s.Metric[metric.LabelType])})
	}
	slices.SortFunc(b.Incidents, func(x, y Incident) int {
		return cmp.Or(cmp.Compare(x.Type, y.Type), cmp.Compare(x.Node, y.Node))
	})
	return b, nil
}

// Since returns which incidents have opened and which have closed since an earlier look.
func (b Beat) Since(before Beat) (opened, closed []Incident) {
	return lacking(b.Incidents, before.Incidents), lacking(before.Incidents, b.Incidents)
}

// lacking are those of a list that another one does not have.
func lacking(of, in []Incident) []Incident {
	return slices.DeleteFunc(slices.Clone(of), func(i Incident) bool { return slices.Contains(in, i) })
}

func vector(ctx context.Context, q Querier, query string, now time.Time) (model.Vector, error) {
	v, _, _, err := q.Query(ctx, query, now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	all, ok := v.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("%s: got a %s, want a vector", query, v.Type())
	}
	return all, nil
}
