package prom

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// byMetric answers each metric's queries with a result of its own.
type byMetric map[string][]any

func (b byMetric) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.FormValue("query")
	metric, selected, _ := strings.Cut(query, "{")
	for _, of := range []string{`namespace="ns"`, `pod="a"`} {
		if !strings.Contains(selected, of) && metric == "route" {
			panic("asked of others, too: " + query)
		}
	}
	kind := "vector"
	if strings.HasSuffix(query, "]") {
		kind = "matrix"
	}
	result := b[metric]
	if result == nil {
		result = []any{}
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": kind, "result": result}}); err != nil {
		panic(err)
	}
}

// hop is a sample, or a series of samples, of a route over a next hop.
func hop(next string, values ...float64) map[string]any {
	s := stream("a", values...)
	labels := map[string]string{"pod": "a", "hop": next}
	if len(values) == 0 {
		return map[string]any{"metric": labels, "value": [2]any{float64(epoch.Unix()), "1"}}
	}
	s["metric"] = labels
	return s
}

func TestValuesOfWhoIsScraped(t *testing.T) {
	witness := map[string]any{"metric": map[string]string{"pod": "a"}, "value": [2]any{float64(epoch.Unix()), "0"}}
	for name, c := range map[string]struct {
		server byMetric
		want   []string
		fails  bool
	}{
		"routes":             {byMetric{"up": {witness}, "route": {hop("c"), hop("b"), hop("c")}}, []string{"b", "c"}, false},
		"no routes":          {byMetric{"up": {witness}}, nil, false},
		"nobody was scraped": {byMetric{}, nil, true},
		"a ghost's routes":   {byMetric{"route": {hop("b")}}, nil, true},
	} {
		got, err := clientAt(t, c.server, 2).Values(t.Context(), "route", "hop", Labels{"to": "d"}, "ns", "a", "up")
		if !slices.Equal(got, c.want) || (err != nil) != c.fails {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestLastSeen(t *testing.T) {
	scraped := stream("a", 1, 1, 1, 1, 1, 1, 1, 1, 1) // up to the 5th second
	rare := stream("a", 1, 1, 1, 1, 1)
	for name, c := range map[string]struct {
		server byMetric
		want   map[string]time.Duration // after the window's start
		fails  bool
	}{
		"one that went, and one that stays":  {byMetric{"up": {scraped}, "route": {hop("b", 1, 1, 1, 1, 1, 1), hop("c", 1, 1, 1, 1, 1, 1, 1, 1, 1)}}, map[string]time.Duration{"b": 2 * time.Second, "c": 5 * time.Second}, false},
		"by the last of several":             {byMetric{"up": {scraped}, "route": {hop("b", 1, 1, 1, 1, 1), hop("b", 1, 1, 1, 1, 1, 1, 1)}}, map[string]time.Duration{"b": 3 * time.Second}, false},
		"before the window only":             {byMetric{"up": {scraped}, "route": {hop("b", 1, 1, 1)}}, map[string]time.Duration{}, false},
		"of who was not scraped long enough": {byMetric{"up": {rare}}, nil, true},
		"of who was not scraped":             {byMetric{}, nil, true},
	} {
		got, scraped, err := clientAt(t, c.server, 5).LastSeen(t.Context(), "route", "hop", Window{Namespace: "ns", Start: epoch}, "a", "up")
		if (err != nil) != c.fails || len(got) != len(c.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if err == nil && !scraped.Equal(epoch.Add(5*time.Second)) {
			t.Errorf("%s: scraped last %v after the start, want 5 s", name, scraped.Sub(epoch))
		}
		for hop, after := range c.want {
			if !got[hop].Equal(epoch.Add(after)) {
				t.Errorf("%s: %s was last seen %v after the start, want %v", name, hop, got[hop].Sub(epoch), after)
			}
		}
	}
}
