package prom

import (
	"fmt"
	"maps"
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
	if want := `h_bucket{namespace="ns",x="y"}[302000ms]`; s.query != want {
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
	odd := &server{kind: "matrix", result: []any{bucket("a", "odd", 0, 0, 0, 0, 1), bucket("b", "+Inf", 0, 0, 0, 0, 1)}}
	if _, err := client(t, odd).Quantile(.5, "h", nil, window)(t.Context()); err == nil || !strings.Contains(err.Error(), `bound "odd"`) {
		t.Errorf("a bucket without a bound: %v", err)
	}
	if _, err := client(t, &server{fail: true}).Quantile(.5, "h", nil, window)(t.Context()); err == nil {
		t.Error("a server that fails has no quantile")
	}
}

func TestTotal(t *testing.T) {
	s := &server{kind: "matrix", result: []any{
		stream("a", 0, 0, 0, 0, 15), stream("a", 0, 0, 0, 0, 5), stream("b", 4, 4, 4, 4, 4),
	}}
	total, err := client(t, s).Total("m", nil, window)(t.Context())
	if err != nil || total != 20 {
		t.Errorf("total %v, %v", total, err)
	}
	for name, s := range map[string]*server{
		"absent": {kind: "matrix", result: []any{stream("a", 0)}}, "failing": {fail: true},
	} {
		if _, err := client(t, s).Total("m", nil, window)(t.Context()); err == nil {
			t.Errorf("%s: a total", name)
		}
	}
}

func TestRate(t *testing.T) {
	gap := math.NaN()
	cases := map[string]struct {
		counter []float64 // at -3 s, -2 s, …; the window opens at 0 s
		want    float64
	}{
		"steady":                       {[]float64{0, 0, 0, 0, 6, 12, 18}, 6},
		"what was before is no growth": {[]float64{0, 50, 90, 100, 106, 112}, 6},
		"a reset":                      {[]float64{9, 9, 9, 9, 3, 6}, 3},
		"a scrape that failed":         {[]float64{0, 0, 0, 0, gap, 12, 18}, 6},
		"none at the start":            {[]float64{2, 4, gap, gap, 10, 12}, 2},
		"born in the window":           {[]float64{gap, gap, gap, gap, 1, 3, 5}, 2},
		"it stands":                    {[]float64{4, 4, 4, 4, 4, 4}, 0},
		// From the first scrape to the last it grows by 7 in 5 s, or 1.4 per second.
		"a count just before the last scrape": {[]float64{0, 0, 0, 0, 1, 2, 3, 4, 7}, 9. / 7},
	}
	for name, c := range cases {
		w := window
		w.Pods = []string{"a"}
		s := &server{kind: "matrix", result: []any{stream("a", c.counter...), stream("b", 9)}}
		got, err := client(t, s).Rate("m", nil, w)(t.Context())
		if err != nil || len(got) != 1 || math.Abs(got["a"]-c.want) > 1e-12 {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
	}
}

// Series of one pod are added up; by a label each value stands alone.
func TestRateBy(t *testing.T) {
	to := func(peer string, s map[string]any) map[string]any {
		s["metric"].(map[string]string)["peer"] = peer
		return s
	}
	s := &server{kind: "matrix", result: []any{
		to("x", stream("a", 0, 0, 0, 0, 6, 12)), to("y", stream("a", 0, 0, 0, 0, 2, 4)), to("x", stream("b", 1, 1, 1, 1, 1, 1)),
		to("x", stream("stranger", 0, 0, 0, 0, 6, 12)),
	}}
	got, err := client(t, s).Rate("m", nil, window)(t.Context())
	if err != nil || !maps.Equal(got, map[string]float64{"a": 8, "b": 0}) {
		t.Errorf("got %v, %v", got, err)
	}
	got, err = client(t, s).RateBy("peer", "m", nil, window)(t.Context())
	if err != nil || !maps.Equal(got, map[string]float64{"a→x": 6, "a→y": 2, "b→x": 0}) {
		t.Errorf("by peer: got %v, %v", got, err)
	}
}

func TestRateNeedsScrapes(t *testing.T) {
	gap := math.NaN()
	steady := []any{stream("a", 1, 2, 3, 4, 5, 6), stream("b", 1, 2, 3, 4, 5, 6)}
	for name, s := range map[string]*server{
		"no counter":            {kind: "matrix", result: []any{}},
		"no counter of one pod": {kind: "matrix", result: steady[:1]},
		"no scrape since":       {kind: "matrix", result: []any{steady[0], stream("b", 1, 2)}},
		"one scrape in all":     {kind: "matrix", result: []any{steady[0], stream("b", gap, gap, gap, gap, 1)}},
		"a server that fails":   {fail: true},
	} {
		if got, err := client(t, s).Rate("m", nil, window)(t.Context()); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestAWindowThatIsClosed(t *testing.T) {
	s := &server{kind: "matrix", result: []any{stream("a", 0, 0, 0, 0, 8, 8, 8), stream("b", 0, 0, 0, 0, 4, 4, 4)}}
	w := window
	w.End = epoch.Add(4 * time.Second)
	grown, err := client(t, s).Growth("m", nil, w)(t.Context())
	if err != nil || grown["a"] != 8 || grown["b"] != 4 {
		t.Errorf("growth %v, %v", grown, err)
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

// counted is a series of a counter of pod a.
func counted(of string, values ...float64) map[string]any {
	s := stream("a", values...)
	s["metric"].(map[string]string)["type"] = of
	return s
}

// What a pod counted is known of one that came late or has gone, with how late it was still asked.
func TestCounted(t *testing.T) {
	gap := math.NaN()
	for name, c := range map[string]struct {
		series []any
		want   map[string]float64
		last   time.Duration // after the window's start; 0: never in it
	}{
		"one that came":         {[]any{counted("x", gap, gap, gap, gap, 0, 1, 3), counted("y", gap, gap, gap, gap, 0, 0, 0)}, map[string]float64{"x": 3, "y": 0}, 3 * time.Second},
		"one that left":         {[]any{counted("x", 5, 5, 5, 5, 6)}, map[string]float64{"x": 1}, time.Second},
		"one that had left":     {[]any{counted("x", 0, 1, 1)}, map[string]float64{"x": 0}, 0},
		"two lives of one name": {[]any{counted("x", 0, 1, 1, 1, 2), counted("x", gap, gap, gap, gap, gap, 1)}, map[string]float64{"x": 2}, 2 * time.Second},
		"nobody":                {[]any{}, map[string]float64{}, 0},
	} {
		s := &server{kind: "matrix", result: c.series}
		got, last, err := clientAt(t, s, 5).Counted(t.Context(), "m", "type", Window{Namespace: "ns", Start: epoch}, "a")
		if err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
		if c.last == 0 != last.IsZero() || c.last > 0 && !last.Equal(epoch.Add(c.last)) {
			t.Errorf("%s: last asked at %v", name, last)
		}
		if want := `m{namespace="ns",pod="a"}[305000ms]`; s.query != want {
			t.Errorf("asked %s, want %s", s.query, want)
		}
	}
	if got, _, err := client(t, &server{fail: true}).Counted(t.Context(), "m", "type", window, "a"); err == nil {
		t.Errorf("of a server that fails: %v", got)
	}
}
