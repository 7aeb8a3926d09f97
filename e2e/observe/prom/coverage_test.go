package prom

import (
	"math"
	"strings"
	"testing"
	"time"
)

// scraped is a series with so many samples in the window, of one value, or of a counter
// that grows by one at each.
func scraped(pod string, n int, grows bool) map[string]any {
	values := []float64{0, 0, 0, 0} // up to the start
	for i := range n {
		v := 0.0
		if grows {
			v = float64(i + 1)
		}
		values = append(values, v)
	}
	return stream(pod, values...)
}

// A window of 101 s has 100 scrapes of which nothing is said to lie outside.
func TestAbsentIsNotZero(t *testing.T) {
	for name, c := range map[string]struct {
		a, b    int // samples in the window
		missing string
	}{
		"every scrape":                {100, 100, ""},
		"80 % of them":                {80, 80, ""},
		"79 % of them":                {80, 79, "pod b has 79 samples"},
		"none in the window":          {100, 0, "pod b has 0 samples"},
		"one pod's do not count both": {79, 100, "pod a has 79 samples"},
	} {
		s := &server{kind: "matrix", result: []any{scraped("a", c.a, true), scraped("b", c.b, true)}}
		questions := map[string]func() error{
			"growth": func() error { _, err := clientAt(t, s, 101).Growth("m", nil, window)(t.Context()); return err },
			"rate":   func() error { _, err := clientAt(t, s, 101).Rate("m", nil, window)(t.Context()); return err },
			"stall":  func() error { _, err := clientAt(t, s, 101).Stall("m", nil, window)(t.Context()); return err },
			"spread": func() error { _, err := clientAt(t, s, 101).Spread("m", nil, window)(t.Context()); return err },
			"total":  func() error { _, err := clientAt(t, s, 101).Total("m", nil, window)(t.Context()); return err },
		}
		for what, ask := range questions {
			err := ask()
			if c.missing == "" && err != nil || c.missing != "" && (err == nil || !strings.Contains(err.Error(), c.missing)) {
				t.Errorf("%s, %s: got %v, want %q", name, what, err, c.missing)
			}
		}
	}
}

// Samples of several series of a pod at one scrape are one scrape.
func TestSeriesOfOneScrapeAreOneSample(t *testing.T) {
	s := &server{kind: "matrix", result: []any{scraped("a", 40, true), scraped("a", 40, true), scraped("b", 100, true)}}
	if got, err := clientAt(t, s, 101).Growth("m", nil, window)(t.Context()); err == nil {
		t.Errorf("40 scrapes of two series pass for 80: %v", got)
	}
}

func TestAShortWindowNeedsOneSample(t *testing.T) {
	for n, want := range map[int]bool{0: false, 1: true} {
		s := &server{kind: "matrix", result: []any{scraped("a", n, true), scraped("b", 1, true)}}
		if _, err := clientAt(t, s, 1).Growth("m", nil, window)(t.Context()); (err == nil) != want {
			t.Errorf("%d samples: %v", n, err)
		}
	}
}

func TestStall(t *testing.T) {
	gap := math.NaN()
	for name, c := range map[string]struct {
		values []float64 // at -3 s, -2 s, …; the window opens at 0 s
		want   time.Duration
	}{
		"grows at each scrape":              {[]float64{0, 0, 0, 0, 1, 2, 3, 4}, 0},
		"stands all the time":               {[]float64{0, 0, 0, 5, 5, 5, 5, 5}, 3 * time.Second},
		"stood before only":                 {[]float64{5, 5, 5, 5, 6, 7, 8}, 0},
		"the longest of two":                {[]float64{0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3}, 3 * time.Second},
		"first frame, and none after":       {[]float64{0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2}, 5 * time.Second},
		"a failed scrape is no growth":      {[]float64{0, 0, 0, 0, 1, gap, 1, gap, 1, 2}, 4 * time.Second},
		"a reset is a sign of life":         {[]float64{9, 9, 9, 9, 9, 0, 1, 2}, 0},
		"growth ends the stall it comes to": {[]float64{0, 0, 0, 0, 1, 1, 1, 2, 3}, 2 * time.Second},
	} {
		if got := stall(samples(c.values...), epoch); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	w := window
	w.Pods = []string{"a"}
	s := &server{kind: "matrix", result: []any{stream("stranger", 0, 0, 0, 0, 1, 1, 1, 1), stream("a", 0, 0, 0, 0, 1, 2, 2, 3)}}
	got, err := clientAt(t, s, 4).Stall("m", nil, w)(t.Context())
	if err != nil || len(got) != 1 || got["a"] != time.Second {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestSpread(t *testing.T) {
	s := &server{kind: "matrix", result: []any{
		stream("a", 9, 9, 9, 9, 1, .5, .8), stream("b", 2, 2, 2, 2, 2, 2, 2), stream("stranger", 0, 0, 0, 0, 100, 100, 100),
	}}
	got, err := clientAt(t, s, 3).Spread("m", nil, window)(t.Context())
	if err != nil || len(got) != 2 || got["a"] != (Range{.5, 1, .8}) || got["b"] != (Range{2, 2, 2}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// notANumber is a series whose samples in the window are of one text.
func notANumber(pod, text string) map[string]any {
	s := scraped(pod, 3, false)
	values := s["values"].([][2]any)
	for i := range values {
		values[i][1] = text
	}
	return s
}

func TestSpreadOfNaNIsNone(t *testing.T) {
	s := &server{kind: "matrix", result: []any{stream("a", 1, 1, 1, 1, 1, 1, 1), notANumber("b", "NaN")}}
	if got, err := clientAt(t, s, 3).Spread("m", nil, window)(t.Context()); err == nil || !strings.Contains(err.Error(), "pod b") {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestNumbers(t *testing.T) {
	sum := stream("", 1, 1, 1)
	delete(sum["metric"].(map[string]string), "pod")
	for name, c := range map[string]struct {
		result []any
		want   []string
	}{
		"nothing":                     {[]any{}, nil},
		"NaN only":                    {[]any{notANumber("a", "NaN")}, nil},
		"infinite only":               {[]any{notANumber("a", "+Inf")}, nil},
		"one of two":                  {[]any{notANumber("a", "NaN"), stream("b", 0, 0, 0)}, []string{"b"}},
		"zero is a number":            {[]any{stream("a", 0, 0, 0)}, []string{"a"}},
		"pods added up have no name":  {[]any{sum}, []string{""}},
		"one series of a pod's two":   {[]any{notANumber("a", "NaN"), stream("a", 1)}, []string{"a"}},
		"two pods with numbers of it": {[]any{stream("a", 1), stream("b", 1)}, []string{"a", "b"}},
	} {
		got, err := client(t, &server{kind: "matrix", result: c.result}).Numbers(t.Context(), "q", window)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
		for _, pod := range c.want {
			if !got[pod] {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
			}
		}
	}
	if got, err := client(t, &server{fail: true}).Numbers(t.Context(), "q", window); err == nil {
		t.Errorf("from a server that fails: %v", got)
	}
}
