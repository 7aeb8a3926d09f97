package scenario

import (
	"context"
	"math"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

// timeline is what the run went through up to now.
func (r *Run) timeline(ctx context.Context) (*report.Timeline, error) {
	t := &report.Timeline{Namespace: r.Mesh.Namespace, Nodes: r.Nodes, Start: r.Baseline.Start, End: time.Now(), Faults: []report.Span{}, Curves: []report.Curve{}}
	if t.Start.IsZero() { // it was never well
		return t, nil
	}
	for _, e := range r.episodes {
		if !e.aside {
			t.Faults = append(t.Faults, e.span())
		}
	}
	curves, err := r.Prom.Curves(ctx, t.Namespace, t.Start, t.End)
	for _, c := range curves {
		t.Curves = append(t.Curves, drawn(c, t.Start))
	}
	return t, err
}

func (e *Episode) span() report.Span {
	s := report.Span{Name: e.Name, Victims: e.Victims, Applied: e.Window.Start, Fault: e.Times}
	if !e.Window.End.IsZero() {
		s.Ended = &e.Window.End
	}
	return s
}

// drawn returns a curve as seconds since a start.
func drawn(c prom.Curve, start time.Time) report.Curve {
	d := report.Curve{Selector: c.Selector, Query: c.Query, Pods: map[string][][2]float64{}}
	for pod, points := range c.Pods {
		for _, p := range points {
			d.Pods[pod] = append(d.Pods[pod], [2]float64{math.Round(p.At.Sub(start).Seconds()*1000) / 1000, p.Value})
		}
	}
	return d
}
