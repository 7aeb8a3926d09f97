package prom

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
)

const (
	// ScrapeInterval is how often Prometheus scrapes the mesh (manifests/prometheus).
	ScrapeInterval = time.Second
	// leastCovered is the share of the expected scrapes without which a window proves
	// nothing.
	leastCovered = 0.8
)

// covered checks that each pod was scraped often enough in a window: absent is never
// zero. A window that is shorter than a few scrapes needs one.
func covered(query string, w Window, now time.Time, series model.Matrix) error {
	seen := map[string]map[model.Time]bool{}
	from := model.TimeFromUnixNano(w.Start.UnixNano())
	for _, s := range series {
		pod := string(s.Metric[LabelPod])
		if seen[pod] == nil {
			seen[pod] = map[model.Time]bool{}
		}
		for _, v := range s.Values {
			if v.Timestamp.After(from) {
				seen[pod][v.Timestamp] = true
			}
		}
	}
	expected := w.Until(now).Sub(w.Start).Seconds() / ScrapeInterval.Seconds()
	least := max(1, int(math.Ceil(leastCovered*(expected-1)))) // up to one lies before the first scrape
	for _, pod := range w.Pods {
		if n := len(seen[pod]); n < least {
			return fmt.Errorf("%s: pod %s has %d samples in the %v of the window, at least %d are needed: absent is not zero",
				query, pod, n, w.Until(now).Sub(w.Start).Round(time.Second), least)
		}
	}
	return nil
}

// Stall returns a question: what is the longest time in a window without growth of a
// counter, between two scrapes, in each of its pods? Growth before the first scrape of the
// window and after its last does not count.
func (c *Client) Stall(metric string, labels Labels, w Window) func(context.Context) (map[string]time.Duration, error) {
	return func(ctx context.Context) (map[string]time.Duration, error) {
		query, series, err := c.samples(ctx, metric, labels, w)
		if err != nil {
			return nil, err
		}
		stalls := map[string]time.Duration{}
		for _, s := range series {
			pod := string(s.Metric[LabelPod])
			if slices.Contains(w.Pods, pod) {
				stalls[pod] = max(stalls[pod], stall(s.Values, w.Start))
			}
		}
		return stalls, missing(query, w.Pods, stalls)
	}
}

// stall is the longest time between two samples, the first of which is the window's first,
// or one at which a counter had grown, in which it stayed what it was.
func stall(samples []model.SamplePair, start time.Time) time.Duration {
	from := model.TimeFromUnixNano(start.UnixNano())
	var longest time.Duration
	var since *model.SamplePair
	for i, s := range samples {
		switch {
		case !s.Timestamp.After(from):
		case since == nil || s.Value != since.Value:
			since = &samples[i]
		default:
			longest = max(longest, s.Timestamp.Sub(since.Timestamp))
		}
	}
	return longest
}

// Spread returns a question: what are the least, the most and the median that a gauge had in
// a window, in each of its pods? NaN is no value.
func (c *Client) Spread(metric string, labels Labels, w Window) func(context.Context) (map[string]Range, error) {
	return func(ctx context.Context) (map[string]Range, error) {
		query, series, err := c.samples(ctx, metric, labels, w)
		if err != nil {
			return nil, err
		}
		values := map[string][]float64{}
		from := model.TimeFromUnixNano(w.Start.UnixNano())
		for _, s := range series {
			pod := string(s.Metric[LabelPod])
			for _, v := range s.Values {
				if !slices.Contains(w.Pods, pod) || !v.Timestamp.After(from) || math.IsNaN(float64(v.Value)) {
					continue
				}
				values[pod] = append(values[pod], float64(v.Value))
			}
		}
		ranges := map[string]Range{}
		for pod, all := range values {
			slices.Sort(all)
			ranges[pod] = Range{Least: all[0], Most: all[len(all)-1], Median: all[len(all)/2]}
		}
		return ranges, missing(query, w.Pods, ranges)
	}
}

// Range is the least, the most and the median that something had: of two in the middle the
// upper one.
type Range struct{ Least, Most, Median float64 }

// missing is an error if a pod has no value.
func missing[V any](query string, pods []string, values map[string]V) error {
	for _, p := range pods {
		if _, ok := values[p]; !ok {
			return fmt.Errorf("%s: no sample of pod %s in the window", query, p)
		}
	}
	return nil
}
