package prom

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

const (
	// leastStep is the time between two points of a curve, which is longer where there
	// would be more than mostPoints.
	leastStep  = time.Second
	mostPoints = 300
	// bucketRange is what a point of a histogram's median looks back at.
	bucketRange = "15s"
)

// Curve is what a metric did in each pod over a time.
type Curve struct {
	// Selector is what was asked about, Query is what was drawn of it: the sum by pod, and
	// of a histogram's buckets the median.
	Selector, Query string
	// Pods has the points of each pod in order. One that is on the line between its
	// neighbours, because nothing changed, is left out.
	Pods map[string][]Point
}

// Point is a value at a time.
type Point struct {
	At    time.Time
	Value float64
}

// Curves returns the curves of all selectors that were asked about a namespace, sorted
// as they were asked: what the criteria read. What answers with nothing has no curve.
func (c *Client) Curves(ctx context.Context, namespace string, from, to time.Time) ([]Curve, error) {
	step := max(leastStep, to.Sub(from)/mostPoints).Round(time.Second)
	var curves []Curve
	for _, q := range c.Asked(namespace, time.Time{}) {
		if !plain.MatchString(q.Query) {
			continue
		}
		curve := Curve{Selector: q.Selector(), Pods: map[string][]Point{}}
		curve.Query = drawn(curve.Selector)
		// Not by the record: nobody is judged by it.
		value, _, _, err := c.api.API.QueryRange(ctx, curve.Query, promv1.Range{Start: from, End: to, Step: step})
		if err != nil {
			return curves, fmt.Errorf("%s: %w", curve.Query, err)
		}
		series, ok := value.(model.Matrix)
		if !ok {
			return curves, fmt.Errorf("%s: got a %s, want a matrix", curve.Query, value.Type())
		}
		for _, s := range series {
			if points := bends(s.Values); len(points) > 0 {
				curve.Pods[string(s.Metric[LabelPod])] = points
			}
		}
		if len(curve.Pods) > 0 {
			curves = append(curves, curve)
		}
	}
	return curves, nil
}

// drawn is the query that is drawn of a selector.
func drawn(selector string) string {
	if metric, _, _ := strings.Cut(selector, "{"); strings.HasSuffix(metric, bucketSuffix) {
		return fmt.Sprintf("histogram_quantile(0.5, sum by (%s, %s) (rate(%s[%s])))", LabelPod, labelBound, selector, bucketRange)
	}
	return fmt.Sprintf("sum by (%s) (%s)", LabelPod, selector)
}

// bends returns the points of a line that are needed to draw it: the first, the last, and
// those before and after a change. NaN is no point.
func bends(samples []model.SamplePair) []Point {
	var points []Point
	for _, s := range samples {
		v := float64(s.Value)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		if n := len(points); n > 1 && points[n-1].Value == v && points[n-2].Value == v {
			points = points[:n-1]
		}
		points = append(points, Point{At: s.Timestamp.Time(), Value: v})
	}
	return points
}
