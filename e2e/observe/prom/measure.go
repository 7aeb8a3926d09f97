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

// Rate returns a question for Eventually: how fast did a counter grow in each of the
// window's pods, per second? It is the slope of the least-squares line through the
// scrapes, as PromQL's deriv is. Growth over time would hang on the first scrape and the
// last alone, and it is chance on which side of a scrape a count falls.
func (c *Client) Rate(counter string, labels Labels, w Window) func(context.Context) (map[string]float64, error) {
	return c.rates(counter, labels, w, func(m model.Metric) string { return string(m[LabelPod]) })
}

// RateBy is Rate for each value of a label: by pod and value, as in "a→b".
func (c *Client) RateBy(label, counter string, labels Labels, w Window) func(context.Context) (map[string]float64, error) {
	return c.rates(counter, labels, w, func(m model.Metric) string {
		return string(m[LabelPod]) + "→" + string(m[model.LabelName(label)])
	})
}

func (c *Client) rates(counter string, labels Labels, w Window, key func(model.Metric) string) func(context.Context) (map[string]float64, error) {
	return func(ctx context.Context) (map[string]float64, error) {
		query, counts, err := c.samples(ctx, counter, labels, w)
		if err != nil {
			return nil, err
		}
		rates := map[string]float64{}
		for _, s := range counts {
			if !slices.Contains(w.Pods, string(s.Metric[LabelPod])) {
				continue
			}
			rate := slope(grown(s.Values, w.Start))
			if math.IsNaN(rate) {
				return nil, fmt.Errorf("%s: no two scrapes of %s in the window", query, key(s.Metric))
			}
			rates[key(s.Metric)] += rate
		}
		return rates, nil
	}
}

// grown returns the seconds (x) and a counter's growth (y) at each scrape, from the last
// one at or before start on, or from the first.
func grown(counter []model.SamplePair, start time.Time) (x, y []float64) {
	from := model.TimeFromUnixNano(start.UnixNano())
	var last model.SamplePair
	for _, s := range counter {
		if len(x) == 0 || !s.Timestamp.After(from) {
			x, y = []float64{0}, []float64{0}
		} else {
			x = append(x, x[len(x)-1]+s.Timestamp.Sub(last.Timestamp).Seconds())
			y = append(y, y[len(y)-1]+step(last.Value, s.Value))
		}
		last = s
	}
	return x, y
}

// slope is that of the least-squares line of y over x, and NaN where x does not grow.
func slope(x, y []float64) float64 {
	mean := func(v []float64) (sum float64) {
		for _, v := range v {
			sum += v
		}
		return sum / float64(len(v))
	}
	mx, my := mean(x), mean(y)
	var covariance, variance float64
	for i := range x {
		covariance += (x[i] - mx) * (y[i] - my)
		variance += (x[i] - mx) * (x[i] - mx)
	}
	return covariance / variance
}

// Counted returns by how much a counter of one pod grew in a window, by the values of a label, and when it was last
// scraped in it, or zero. It is for a pod that was there for a part of it: each scrape of a count tells all that was
// counted before, and whether the last came late enough is for the caller to say.
func (c *Client) Counted(ctx context.Context, counter, label string, w Window, pod string) (grown map[string]float64, last time.Time, err error) {
	_, series, err := c.matrix(ctx, counter, of(pod, nil), w, w.Until(c.now()))
	if err != nil {
		return nil, last, err
	}
	grown = map[string]float64{}
	for _, s := range series {
		grown[string(s.Metric[model.LabelName(label)])] += Increase(s.Values, w.Start)
		if at := later(last, s.Values); at.After(w.Start) {
			last = at
		}
	}
	return grown, last, nil
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
