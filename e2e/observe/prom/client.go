// Package prom asks Prometheus what the criteria want to know. It is a thin
// layer over Prometheus' own client that adds three things: it reaches the
// server through the Kubernetes API server, so any kubeconfig will do; it
// takes an absent metric for an error, never for zero; and its growth of a
// counter starts at the fault's own time and survives restarts.
package prom

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"

	"github.com/x0tta6bl4/mesh/e2e/ground/clock"
)

const (
	labelNamespace = "namespace"
	// LabelPod is the label that the scrape gives every series of a pod.
	LabelPod = "pod"

	// lookback is how far before a window's start the last sample of a series
	// may lie: Prometheus' own staleness interval.
	lookback = 5 * time.Minute
)

// Client asks one Prometheus server.
type Client struct {
	api *record
	now func() time.Time
}

// Labels are what a series must carry besides its namespace.
type Labels map[string]string

// Window is the part of a run that a question is about.
type Window struct {
	Namespace string
	Pods      []string
	// Start is when the window opens.
	Start time.Time
	// End is when it closes; zero means that it ends now, whenever it is asked
	// about.
	End time.Time
}

// Since returns the window without its end: for what outlives the reason for it.
func (w Window) Since() Window {
	w.End = time.Time{}
	return w
}

// Until returns the window's end, which is now while it is open.
func (w Window) Until(now time.Time) time.Time {
	if w.End.IsZero() {
		return now
	}
	return w.End
}

// New returns a client of the server behind a Service, given as
// namespace/name:port. Requests go through the API server's service proxy with
// the credentials of config.
func New(config *rest.Config, service string) (*Client, error) {
	namespace, hostPort, ok := strings.Cut(service, "/")
	name, port, err := net.SplitHostPort(hostPort)
	if !ok || err != nil || namespace == "" || name == "" || port == "" {
		return nil, fmt.Errorf("prometheus service %q: must be namespace/name:port", service)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("transport to the API server: %w", err)
	}
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	address := server.JoinPath("api/v1/namespaces", namespace, "services", name+":"+port, "proxy")
	c, err := api.NewClient(api.Config{Address: address.String(), RoundTripper: transport})
	if err != nil {
		return nil, err
	}
	return &Client{api: &record{API: promv1.NewAPI(c), asked: map[string]Question{}}, now: time.Now}, nil
}

// Unrecorded is Prometheus' own client, for questions by which nothing is judged: Asked does
// not tell them.
func (c *Client) Unrecorded() promv1.API { return c.api.API }

// API is Prometheus' own client, for what this package does not wrap.
func (c *Client) API() promv1.API { return c.api }

// readyWithin bounds Ready.
const readyWithin = time.Minute

// Ready asks the server for its version, to see that it can be reached.
func (c *Client) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if _, err := c.api.Buildinfo(ctx); err != nil {
		return fmt.Errorf("prometheus does not answer through the API server: %w", err)
	}
	return nil
}

// Skew returns how far the clock of the server, by which samples and alerts are dated, may be from this machine's:
// see clock.Off.
func (c *Client) Skew(ctx context.Context) (time.Duration, error) {
	off, err := clock.Off(func() (time.Time, error) {
		value, _, _, err := c.Unrecorded().Query(ctx, "time()", time.Time{}) // at no time: now, by its own clock
		if err != nil {
			return time.Time{}, err
		}
		now, ok := value.(*model.Scalar)
		if !ok {
			return time.Time{}, fmt.Errorf("time(): got a %s, want a scalar", value.Type())
		}
		return now.Timestamp.Time(), nil
	})
	if err != nil {
		return 0, fmt.Errorf("clock of Prometheus: %w", err)
	}
	return off, nil
}

// Growth returns a question for Eventually: by how much has the counter grown
// in each of the window's pods during the window? Series of one pod are
// added up; a series that did not exist before the start began at 0; a series
// that falls was reset and goes on from 0. A pod that has no such series at
// all is an error: the metric is misspelt, or its pod is not scraped.
func (c *Client) Growth(metric string, labels Labels, w Window) func(context.Context) (map[string]float64, error) {
	return func(ctx context.Context) (map[string]float64, error) {
		query, series, err := c.samples(ctx, metric, labels, w)
		if err != nil {
			return nil, err
		}
		return byPod(query, w.Pods, series, func(s *model.SampleStream) (string, float64) {
			return string(s.Metric[LabelPod]), Increase(s.Values, w.Start)
		})
	}
}

// matrix returns a metric's samples from shortly before the window's start to its end, whatever pods have them,
// with the query by which it asked.
func (c *Client) matrix(ctx context.Context, metric string, labels Labels, w Window, end time.Time) (string, model.Matrix, error) {
	span := end.Sub(w.Start) + lookback
	query := fmt.Sprintf("%s[%dms]", Selector(metric, w.Namespace, labels), span.Milliseconds())
	if !end.After(w.Start) {
		return query, nil, fmt.Errorf("%s: the window ends before it opens", query)
	}
	value, _, _, err := c.api.Query(ctx, query, end)
	if err != nil {
		return query, nil, fmt.Errorf("%s: %w", query, err)
	}
	series, ok := value.(model.Matrix)
	if !ok {
		return query, nil, fmt.Errorf("%s: got a %s, want a matrix", query, value.Type())
	}
	return query, series, nil
}

// samples returns what matrix does. A pod without the series, or with too few samples in the window, is an error.
func (c *Client) samples(ctx context.Context, metric string, labels Labels, w Window) (string, model.Matrix, error) {
	end := w.Until(c.now())
	query, series, err := c.matrix(ctx, metric, labels, w, end)
	if err != nil {
		return query, nil, err
	}
	// First: who has no such series at all.
	if _, err := byPod(query, w.Pods, series, func(s *model.SampleStream) (string, float64) {
		return string(s.Metric[LabelPod]), 0
	}); err != nil {
		return query, nil, err
	}
	return query, series, covered(query, w, end, series)
}

// Now returns a question for Eventually: what is the gauge's present value in
// each of the pods? Series of one pod are added up; a pod without any is an
// error.
func (c *Client) Now(metric string, labels Labels, namespace string, pods []string) func(context.Context) (map[string]float64, error) {
	return func(ctx context.Context) (map[string]float64, error) {
		return c.At(metric, labels, namespace, pods, c.now())(ctx)
	}
}

// At is Now for another time: the gauge's last value before it.
func (c *Client) At(metric string, labels Labels, namespace string, pods []string, at time.Time) func(context.Context) (map[string]float64, error) {
	return func(ctx context.Context) (map[string]float64, error) {
		query := Selector(metric, namespace, labels)
		value, _, _, err := c.api.Query(ctx, query, at)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", query, err)
		}
		samples, ok := value.(model.Vector)
		if !ok {
			return nil, fmt.Errorf("%s: got a %s, want a vector", query, value.Type())
		}
		return byPod(query, pods, samples, func(s *model.Sample) (string, float64) {
			return string(s.Metric[LabelPod]), float64(s.Value)
		})
	}
}

// Values returns the values that a label has among a pod's present series of a metric, sorted. That there
// are none is an answer only of a pod that is scraped: witness is a metric of which it always has
// a series.
func (c *Client) Values(ctx context.Context, metric, label string, labels Labels, namespace, pod, witness string) ([]string, error) {
	now := c.now()
	if _, err := c.At(witness, nil, namespace, []string{pod}, now)(ctx); err != nil {
		return nil, err
	}
	query := Selector(metric, namespace, of(pod, labels))
	value, _, _, err := c.api.Query(ctx, query, now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	samples, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("%s: got a %s, want a vector", query, value.Type())
	}
	var values []string
	for _, s := range samples {
		if v, ok := s.Metric[model.LabelName(label)]; ok {
			values = append(values, string(v))
		}
	}
	slices.Sort(values)
	return slices.Compact(values), nil
}

// LastSeen returns when each value of a label was last scraped in a window, among the series that a metric
// has of one pod, and when that pod was: what was seen by the last scrape may be there yet. That
// one never was seen is an answer only of a pod that was scraped all the while: witness is a
// metric of which it always has a series.
func (c *Client) LastSeen(ctx context.Context, metric, label string, w Window, pod, witness string) (last map[string]time.Time, scraped time.Time, err error) {
	w.Pods, w.End = []string{pod}, w.Until(c.now())
	_, series, err := c.samples(ctx, witness, Labels{LabelPod: pod}, w)
	if err != nil {
		return nil, scraped, err
	}
	for _, s := range series {
		scraped = later(scraped, s.Values)
	}
	query := fmt.Sprintf("%s[%dms]", Selector(metric, w.Namespace, of(pod, nil)), w.End.Sub(w.Start).Milliseconds())
	value, _, _, err := c.api.Query(ctx, query, w.End)
	if err != nil {
		return nil, scraped, fmt.Errorf("%s: %w", query, err)
	}
	series, ok := value.(model.Matrix)
	if !ok {
		return nil, scraped, fmt.Errorf("%s: got a %s, want a matrix", query, value.Type())
	}
	last = map[string]time.Time{}
	for _, s := range series {
		v, ok := s.Metric[model.LabelName(label)]
		if at := later(last[string(v)], s.Values); ok && at.After(w.Start) {
			last[string(v)] = at
		}
	}
	return last, scraped, nil
}

// later is a time, or that of the last of samples if it is later.
func later(t time.Time, samples []model.SamplePair) time.Time {
	if n := len(samples); n > 0 {
		if at := samples[n-1].Timestamp.Time(); at.After(t) {
			return at
		}
	}
	return t
}

// of are labels of one pod's series.
func of(pod string, labels Labels) Labels {
	own := Labels{LabelPod: pod}
	maps.Copy(own, labels)
	return own
}

// answerStep is the time between two samples that Numbers asks for.
const answerStep = time.Second

// Numbers asks a query of any kind over a window and returns which of its answers are
// numbers, by pod; an answer without a label pod is under the empty name. NaN is no
// number.
func (c *Client) Numbers(ctx context.Context, query string, w Window) (map[string]bool, error) {
	value, _, _, err := c.api.QueryRange(ctx, query, promv1.Range{Start: w.Start, End: w.Until(c.now()), Step: answerStep})
	if err != nil {
		return nil, err
	}
	m, ok := value.(model.Matrix)
	if !ok {
		return nil, fmt.Errorf("%s: got a %s, want a matrix", query, value.Type())
	}
	numbers := map[string]bool{}
	for _, s := range m {
		for _, v := range s.Values {
			if !math.IsNaN(float64(v.Value)) && !math.IsInf(float64(v.Value), 0) {
				numbers[string(s.Metric[LabelPod])] = true
			}
		}
	}
	return numbers, nil
}

// byPod adds up series per wanted pod and insists that each has one.
func byPod[S any](query string, pods []string, series []S, read func(S) (string, float64)) (map[string]float64, error) {
	if len(pods) == 0 {
		return nil, fmt.Errorf("%s: asked about no pod", query)
	}
	sums := map[string]float64{}
	for _, s := range series {
		if pod, v := read(s); slices.Contains(pods, pod) {
			sums[pod] += v
		}
	}
	var absent []string
	for _, p := range pods {
		if _, ok := sums[p]; !ok {
			absent = append(absent, p)
		}
	}
	if len(absent) > 0 {
		return nil, fmt.Errorf("%s: no series of pod %s: is the metric's name right, and is the pod scraped?",
			query, strings.Join(absent, ", "))
	}
	return sums, nil
}

// Selector returns the PromQL selector of a metric in a namespace.
func Selector(metric, namespace string, labels Labels) string {
	matchers := []string{labelNamespace + "=" + strconv.Quote(namespace)}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		matchers = append(matchers, name+"="+strconv.Quote(labels[name]))
	}
	return metric + "{" + strings.Join(matchers, ",") + "}"
}

// Increase returns by how much a counter grew after start, given its samples
// in order. The last sample at or before start is what it grows from, and 0 if
// there is none.
func Increase(samples []model.SamplePair, start time.Time) float64 {
	from := model.TimeFromUnixNano(start.UnixNano())
	var sum float64
	var last model.SampleValue
	for _, s := range samples {
		if s.Timestamp.After(from) {
			sum += step(last, s.Value)
		}
		last = s.Value
	}
	return sum
}

// step returns by how much a counter grew from one sample to the next. A fall is
// a reset: it went on from 0.
func step(last, next model.SampleValue) float64 {
	if next < last {
		last = 0
	}
	return float64(next - last)
}
