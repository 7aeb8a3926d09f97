package prom

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func TestBucketed(t *testing.T) {
	inf := math.Inf(1)
	cases := map[string]struct {
		q    float64
		b    Buckets
		want float64
	}{
		"in the middle of a bucket":         {.5, Buckets{.1: 0, .2: 10, inf: 10}, .15},
		"at a bound":                        {.5, Buckets{.1: 5, .2: 10, inf: 10}, .1},
		"in the lowest, which begins at 0":  {.5, Buckets{.1: 10, .2: 10, inf: 10}, .05},
		"past an empty bucket":              {.75, Buckets{.1: 5, .2: 5, .4: 10, inf: 10}, .3},
		"in the one without a bound":        {.99, Buckets{.1: 1, .2: 2, inf: 10}, .2},
		"the largest":                       {1, Buckets{.1: 5, .2: 10, .4: 10, inf: 10}, .2},
		"the least":                         {0, Buckets{.1: 0, .2: 10, inf: 10}, .1},
		"a bucket that was scraped earlier": {.75, Buckets{.1: 5, .2: 4, .4: 10, inf: 10}, .3},
	}
	for name, c := range cases {
		got, err := Bucketed(c.q, c.b)
		if err != nil || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
	}
	for name, b := range map[string]Buckets{
		"no buckets": {}, "one": {inf: 1}, "none without a bound": {.1: 1, .2: 2}, "no observation": {.1: 0, inf: 0},
		"negative values": {-1: 1, 1: 2, inf: 2},
	} {
		if got, err := Bucketed(.5, b); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// bucket is a series of a histogram.
func bucket(pod, bound string, values ...float64) map[string]any {
	s := stream(pod, values...)
	s["metric"].(map[string]string)["le"] = bound
	return s
}

func TestQuantileByPod(t *testing.T) {
	s := &server{kind: "matrix", result: []any{
		// before the window everything was slow
		bucket("a", "0.1", 0, 0, 0, 0, 2), bucket("a", "0.2", 0, 0, 0, 0, 4), bucket("a", "+Inf", 9, 9, 9, 9, 13),
		// its process restarts, and begins to count anew
		bucket("b", "0.1", 7, 7, 7, 7, 0, 0), bucket("b", "0.2", 7, 7, 7, 7, 0, 2), bucket("b", "+Inf", 7, 7, 7, 7, 0, 2),
		bucket("stranger", "0.1", 0, 0, 0, 0, 9), bucket("stranger", "+Inf", 0, 0, 0, 0, 9),
	}}
	c := client(t, s)
	got, err := c.Quantile(.5, "h", Labels{"x": "y"}, window)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["a"] != .1 || math.Abs(got["b"]-.15) > 1e-12 {
		t.Errorf("got %v", got)
	}
	if want := `h_bucket{namespace="ns",x="y"}[310000ms]`; s.query != want {
		t.Errorf("asked %s, want %s", s.query, want)
	}
}

func TestQuantileNeedsObservations(t *testing.T) {
	for name, c := range map[string]struct {
		result []any
		want   string
	}{
		"no series": {nil, "no series of pod a, b"},
		"one pod without": {
			[]any{bucket("a", "0.1", 0, 0, 0, 0, 2), bucket("a", "+Inf", 0, 0, 0, 0, 2)}, "no series of pod b",
		},
		"nothing observed since the start": {
			[]any{
				bucket("a", "0.1", 3, 3, 3, 3, 3), bucket("a", "+Inf", 3, 3, 3, 3, 3),
				bucket("b", "0.1", 0, 0, 0, 0, 3), bucket("b", "+Inf", 0, 0, 0, 0, 3),
			}, "pod a: no observations",
		},
	} {
		_, err := client(t, &server{kind: "matrix", result: c.result}).Quantile(.5, "h", nil, window)(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	odd := &server{kind: "matrix", result: []any{bucket("a", "odd", 1)}}
	if _, err := client(t, odd).Quantile(.5, "h", nil, window)(t.Context()); err == nil || !strings.Contains(err.Error(), `bound "odd"`) {
		t.Errorf("a bucket without a bound: %v", err)
	}
	if _, err := client(t, &server{fail: true}).Quantile(.5, "h", nil, window)(t.Context()); err == nil {
		t.Error("a server that fails has no quantile")
	}
}

func TestRateAndTotal(t *testing.T) {
	s := &server{kind: "matrix", result: []any{
		stream("a", 0, 0, 0, 0, 15), stream("a", 0, 0, 0, 0, 5), stream("b", 4, 4, 4, 4, 4),
	}}
	c := client(t, s) // the last scrape is 1 s after the window's start
	rates, err := c.Rate("m", nil, window)(t.Context())
	if err != nil || len(rates) != 2 || rates["a"] != 20 || rates["b"] != 0 {
		t.Errorf("rates %v, %v", rates, err)
	}
	total, err := c.Total("m", nil, window)(t.Context())
	if err != nil || total != 20 {
		t.Errorf("total %v, %v", total, err)
	}
	for name, s := range map[string]*server{
		"absent": {kind: "matrix", result: []any{stream("a", 0)}}, "failing": {fail: true},
	} {
		c := client(t, s)
		if _, err := c.Rate("m", nil, window)(t.Context()); err == nil {
			t.Errorf("%s: a rate", name)
		}
		if _, err := c.Total("m", nil, window)(t.Context()); err == nil {
			t.Errorf("%s: a total", name)
		}
	}
}

// The last scrape before the window is what a rate counts from, in growth and in
// time; a pod that was not scraped in it has none.
func TestRateBetweenScrapes(t *testing.T) {
	w, never := window, math.NaN()
	w.Pods = []string{"a"}
	rates, err := client(t, &server{kind: "matrix", result: []any{stream("a", 2, 4, never, never, 10)}}).Rate("m", nil, w)(t.Context())
	if err != nil || rates["a"] != 2 { // 6 in the 3 s from -2 s to 1 s
		t.Errorf("rates %v, %v", rates, err)
	}
	if _, err := client(t, &server{kind: "matrix", result: []any{stream("a", 2, 4)}}).Rate("m", nil, w)(t.Context()); err == nil {
		t.Error("a rate without a scrape")
	}
}

func TestMean(t *testing.T) {
	s := &server{kind: "matrix", result: []any{stream("a", 9, 9, 9, 9, 1, 2, 3), stream("a", 0, 0, 0, 0, 4), stream("b", 9, 9, 9, 9, 5)}}
	means, err := client(t, s).Mean("m", nil, window)(t.Context())
	if err != nil || means["a"] != 6 || means["b"] != 5 {
		t.Errorf("means %v, %v", means, err)
	}
	if _, err := client(t, &server{kind: "matrix", result: []any{stream("a", 0)}}).Mean("m", nil, window)(t.Context()); err == nil {
		t.Error("a mean of an absent series")
	}
}

func TestAWindowThatIsClosed(t *testing.T) {
	s := &server{kind: "matrix", result: []any{stream("a", 0, 0, 0, 0, 8), stream("b", 0, 0, 0, 0, 4)}}
	w := window
	w.End = epoch.Add(4 * time.Second)
	rates, err := client(t, s).Rate("m", nil, w)(t.Context())
	if err != nil || rates["a"] != 8 || rates["b"] != 4 {
		t.Errorf("rates %v, %v", rates, err)
	}
	if want := `m{namespace="ns"}[304000ms]`; s.query != want {
		t.Errorf("asked %s, want %s", s.query, want)
	}
	if want := fmt.Sprint(w.End.Unix()); s.at != want {
		t.Errorf("asked at %s, want %s", s.at, want)
	}
	w.End = w.Start
	if _, err := client(t, s).Growth("m", nil, w)(t.Context()); err == nil {
		t.Error("growth in no time at all")
	}
}
