package prom

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
)

const (
	labelBound   = "le"
	bucketSuffix = "_bucket"
)

// Rate returns a question for Eventually: how fast did the counter grow in each
// of the window's pods, per second? Unlike PromQL's rate it extrapolates nothing:
// it is the growth over the time between the scrapes that saw it.
func (c *Client) Rate(metric string, labels Labels, w Window) func(context.Context) (map[string]float64, error) {
	return func(ctx context.Context) (map[string]float64, error) {
		spans := map[string]time.Duration{}
		grown, err := c.inWindow(metric, labels, w, func(pod string, samples []model.SamplePair) float64 {
			spans[pod] = max(spans[pod], span(samples, w.Start))
			return Increase(samples, w.Start)
		})(ctx)
		if err != nil {
			return nil, err
		}
		for pod := range grown {
			if spans[pod] == 0 {
				return nil, fmt.Errorf("%s: no scrape of pod %s in the window", Selector(metric, w.Namespace, labels), pod)
			}
			grown[pod] /= spans[pod].Seconds()
		}
		return grown, nil
	}
}

// span is the time over which Increase counts: from the last sample at or before
// start, or from start, to the last.
func span(samples []model.SamplePair, start time.Time) time.Duration {
	from := start
	var last time.Time
	for _, s := range samples {
		if last = s.Timestamp.Time(); !last.After(start) {
			from = last
		}
	}
	return max(last.Sub(from), 0)
}

// Mean returns a question for Eventually: what was the gauge's mean value in each
// of the window's pods? The means of the series of one pod are added up.
func (c *Client) Mean(metric string, labels Labels, w Window) func(context.Context) (map[string]float64, error) {
	return c.inWindow(metric, labels, w, func(_ string, samples []model.SamplePair) float64 {
		var sum, n float64
		for _, v := range samples {
			if v.Timestamp.Time().After(w.Start) {
				sum, n = sum+float64(v.Value), n+1
			}
		}
		return sum / max(n, 1)
	})
}

// Total returns a question for Eventually: by how much has the counter grown in
// all of the window's pods together?
func (c *Client) Total(metric string, labels Labels, w Window) func(context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		grown, err := c.Growth(metric, labels, w)(ctx)
		var sum float64
		for _, v := range grown {
			sum += v
		}
		return sum, err
	}
}

// Quantile returns a question for Eventually: which value did a share q of the
// window's observations stay under, in each of its pods? It is computed from
// the increase of the histogram's classic buckets, as Bucketed does. A pod
// without an observation in the window is an error.
func (c *Client) Quantile(q float64, histogram string, labels Labels, w Window) func(context.Context) (map[string]float64, error) {
	return func(ctx context.Context) (map[string]float64, error) {
		query, series, err := c.samples(ctx, histogram+bucketSuffix, labels, w)
		if err != nil {
			return nil, err
		}
		buckets := map[string]Buckets{}
		for _, pod := range w.Pods {
			buckets[pod] = Buckets{}
		}
		for _, s := range series {
			b, ok := buckets[string(s.Metric[LabelPod])]
			if !ok {
				continue
			}
			bound, err := strconv.ParseFloat(string(s.Metric[labelBound]), 64)
			if err != nil {
				return nil, fmt.Errorf("%s: a bucket of bound %q", query, s.Metric[labelBound])
			}
			b[bound] += Increase(s.Values, w.Start)
		}
		// For its errors: who was asked about, and who has no such series.
		quantiles, err := byPod(query, w.Pods, series, func(s *model.SampleStream) (string, float64) {
			return string(s.Metric[LabelPod]), 0
		})
		if err != nil {
			return nil, err
		}
		for pod := range quantiles {
			if quantiles[pod], err = Bucketed(q, buckets[pod]); err != nil {
				return nil, fmt.Errorf("%s: pod %s: %w", query, pod, err)
			}
		}
		return quantiles, nil
	}
}

// Buckets are the classic buckets of a histogram: how many observations were at
// most as large as each upper bound.
type Buckets map[float64]float64

// Bucketed returns the q-quantile of bucketed observations: the rank q·n falls
// into a bucket, and the observations of a bucket are taken to be spread evenly
// over it. It is the algorithm of PromQL's histogram_quantile, with its
// conventions: the lowest bucket begins at 0, and a rank in the bucket without
// an upper bound is given the highest bound there is.
func Bucketed(q float64, b Buckets) (float64, error) {
	bounds := make([]float64, 0, len(b))
	for bound := range b {
		bounds = append(bounds, bound)
	}
	slices.Sort(bounds)
	if len(bounds) < 2 || !math.IsInf(bounds[len(bounds)-1], 1) || bounds[0] <= 0 {
		return 0, fmt.Errorf("buckets %v are not those of a histogram of durations or sizes", bounds)
	}
	n := b[math.Inf(1)]
	if n == 0 {
		return 0, fmt.Errorf("no observations in the window")
	}
	// A scrape may come between two buckets' increments: counts never fall.
	rank, lower, below := q*n, 0.0, 0.0
	for _, upper := range bounds[:len(bounds)-1] {
		count := max(b[upper], below)
		if count >= rank && count > below {
			return lower + (upper-lower)*max(0, rank-below)/(count-below), nil
		}
		lower, below = upper, count
	}
	return lower, nil
}
