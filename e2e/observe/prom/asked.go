package prom

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Question is a query that the server was asked, and the time that it was about.
type Question struct {
	Query string
	At    time.Time

	asked time.Time
}

// String is the query as it can be pasted: whoever asks it later is told the same. Only a
// selector can carry its time (PromQL's modifier @); with others it is a comment.
func (q Question) String() string {
	if plain.MatchString(q.Query) {
		return fmt.Sprintf("%s @ %.3f", q.Query, float64(q.At.UnixMilli())/1000)
	}
	return fmt.Sprintf("%s # at %s", q.Query, q.At.UTC().Format(time.RFC3339))
}

var (
	// span is the range of a selector, which moves on while a question is asked again.
	span = regexp.MustCompile(`\[[0-9]+ms\]`)
	// plain is a query that is a selector and nothing else.
	plain = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*\{[^{}]*\}(\[[0-9]+ms\])?$`)
)

// Selector is the query without its range.
func (q Question) Selector() string { return span.ReplaceAllString(q.Query, "") }

// record remembers what the server is asked.
type record struct {
	promv1.API
	mu    sync.Mutex
	asked map[string]Question // by selector; the last time counts
}

// Query is that of the API.
func (r *record) Query(ctx context.Context, query string, ts time.Time, opts ...promv1.Option) (model.Value, promv1.Warnings, promv1.Infos, error) {
	r.note(query, ts)
	return r.API.Query(ctx, query, ts, opts...)
}

// QueryRange is that of the API.
func (r *record) QueryRange(ctx context.Context, query string, in promv1.Range, opts ...promv1.Option) (model.Value, promv1.Warnings, promv1.Infos, error) {
	r.note(query, in.End)
	return r.API.QueryRange(ctx, query, in, opts...)
}

func (r *record) note(query string, at time.Time) {
	q := Question{Query: query, At: at, asked: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[q.Selector()] = q
}

// Asked returns what the server was asked about a namespace since a time, each selector
// once, as it was asked last; in the order of that.
func (c *Client) Asked(namespace string, since time.Time) []Question {
	c.api.mu.Lock()
	defer c.api.mu.Unlock()
	var asked []Question
	for _, q := range c.api.asked {
		if strings.Contains(q.Query, labelNamespace+`="`+namespace+`"`) && !q.asked.Before(since) {
			asked = append(asked, q)
		}
	}
	slices.SortFunc(asked, func(a, b Question) int {
		if c := a.asked.Compare(b.asked); c != 0 {
			return c
		}
		return strings.Compare(a.Query, b.Query)
	})
	return asked
}
