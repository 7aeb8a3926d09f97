package prom

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"
)

var epoch = time.Unix(1_900_000_000, 0)

// samples makes a series from values one second apart, the first at -3 s.
func samples(values ...float64) []model.SamplePair {
	var out []model.SamplePair
	for i, v := range values {
		if math.IsNaN(v) {
			continue // not scraped
		}
		out = append(out, model.SamplePair{
			Timestamp: model.TimeFromUnixNano(epoch.Add(time.Duration(i-3) * time.Second).UnixNano()), Value: model.SampleValue(v),
		})
	}
	return out
}

func TestIncrease(t *testing.T) {
	gap := math.NaN()
	cases := map[string]struct {
		values []float64 // at -3 s, -2 s, …; the window opens at 0 s
		want   float64
	}{
		"no samples":                     {nil, 0},
		"flat":                           {[]float64{5, 5, 5, 5, 5, 5}, 0},
		"grows":                          {[]float64{5, 5, 5, 5, 6, 8}, 3},
		"growth before the window":       {[]float64{1, 2, 3, 4, 4, 4}, 0},
		"at the start is before":         {[]float64{0, 0, 0, 7}, 0},
		"born in the window":             {[]float64{gap, gap, gap, gap, 1, 1}, 1},
		"a reset":                        {[]float64{5, 5, 5, 5, 7, 1, 2}, 4},
		"a reset to the same value":      {[]float64{0, 0, 0, 0, 3, 0, 3}, 6},
		"a reset between start and next": {[]float64{5, 5, 5, 5, 2}, 2},
		"a gap":                          {[]float64{1, gap, gap, gap, gap, 4}, 3},
	}
	for name, c := range cases {
		if got := Increase(samples(c.values...), epoch); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestSelector(t *testing.T) {
	got := Selector("m", "ns", Labels{"type": `a"b`, "peer": "x"})
	if want := `m{namespace="ns",peer="x",type="a\"b"}`; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// server answers every query with a result, and keeps the last query and its time.
type server struct {
	result any
	kind   string
	query  string
	at     string
	path   string
	fail   bool
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.path, s.query, s.at = r.URL.Path, r.FormValue("query"), r.FormValue("time")
	if s.fail {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	data, err := json.Marshal(map[string]any{"status": "success", "data": map[string]any{"resultType": s.kind, "result": s.result}})
	if err != nil {
		panic(err)
	}
	if _, err := w.Write(data); err != nil {
		panic(err)
	}
}

// client asks a server 2 s after the window's start, so that a window needs one sample.
func client(t *testing.T, s *server) *Client {
	t.Helper()
	return clientAt(t, s, 2)
}

func clientAt(t *testing.T, s http.Handler, second int) *Client {
	t.Helper()
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	c, err := New(&rest.Config{Host: h.URL}, "monitoring/prometheus:9090")
	if err != nil {
		t.Fatal(err)
	}
	c.now = func() time.Time { return epoch.Add(time.Duration(second) * time.Second) }
	return c
}

func stream(pod string, values ...float64) map[string]any {
	var pairs [][2]any
	for _, s := range samples(values...) {
		pairs = append(pairs, [2]any{float64(s.Timestamp) / 1000, fmt.Sprint(float64(s.Value))})
	}
	return map[string]any{"metric": map[string]string{"__name__": "m", "pod": pod, "namespace": "ns"}, "values": pairs}
}

var window = Window{Namespace: "ns", Pods: []string{"a", "b"}, Start: epoch}

func TestGrowthByPod(t *testing.T) {
	s := &server{kind: "matrix", result: []any{
		stream("a", 0, 0, 0, 0, 1), stream("a", 0, 0, 0, 0, 2), stream("b", 4, 4, 4, 4, 4), stream("stranger", 0, 0, 0, 0, 9),
	}}
	got, err := client(t, s).Growth("m", Labels{"type": "x"}, window)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["a"] != 3 || got["b"] != 0 {
		t.Fatalf("got %v", got)
	}
	if want := `m{namespace="ns",type="x"}[302000ms]`; s.query != want {
		t.Errorf("asked %s, want %s", s.query, want)
	}
	if want := "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/query"; s.path != want {
		t.Errorf("asked at %s, want %s", s.path, want)
	}
}

func TestAnAbsentMetricIsAnError(t *testing.T) {
	for name, result := range map[string][]any{"no series": {}, "one pod without": {stream("a", 0, 0, 0, 0, 1)}} {
		_, err := client(t, &server{kind: "matrix", result: result}).Growth("m", nil, window)(t.Context())
		if err == nil || !strings.Contains(err.Error(), "no series of pod") || !strings.Contains(err.Error(), "b") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := client(t, &server{kind: "vector", result: []any{}}).Now("m", nil, "ns", []string{"a"})(t.Context())
	if err == nil {
		t.Error("gauge: absent taken for a value")
	}
}

func TestNow(t *testing.T) {
	value := func(pod string, v float64) map[string]any {
		return map[string]any{"metric": map[string]string{"pod": pod}, "value": [2]any{float64(epoch.Unix()), fmt.Sprint(v)}}
	}
	s := &server{kind: "vector", result: []any{value("a", 4), value("b", 3)}}
	got, err := client(t, s).Now("m", nil, "ns", []string{"a", "b"})(t.Context())
	if err != nil || got["a"] != 4 || got["b"] != 3 {
		t.Fatalf("got %v, %v", got, err)
	}
}

// The server tells what time it is only if it is not asked about one.
func TestSkew(t *testing.T) {
	for name, c := range map[string]struct {
		ahead time.Duration
		kind  string
		fails bool
	}{
		"right": {0, "scalar", false}, "an hour behind": {-time.Hour, "scalar", false}, "no time": {0, "vector", true},
	} {
		s := &server{kind: c.kind, result: []any{}}
		if c.kind == "scalar" {
			s.result = [2]any{float64(time.Now().Add(c.ahead).UnixMilli()) / 1000, "0"}
		}
		off, err := client(t, s).Skew(t.Context())
		if (err != nil) != c.fails || err == nil && (off < c.ahead.Abs() || off > c.ahead.Abs()+time.Minute) {
			t.Errorf("%s: %v, %v", name, off, err)
		}
		if s.query != "time()" || s.at != "" {
			t.Errorf("%s: asked %s at %q", name, s.query, s.at)
		}
	}
}

func TestErrorsOfTheServerAreNotZero(t *testing.T) {
	c := client(t, &server{fail: true})
	if _, err := c.Growth("m", nil, window)(t.Context()); err == nil {
		t.Error("growth")
	}
	if _, err := c.Now("m", nil, "ns", []string{"a"})(t.Context()); err == nil {
		t.Error("now")
	}
	if err := c.Ready(t.Context()); err == nil {
		t.Error("ready")
	}
}

func TestNewRefusesABadService(t *testing.T) {
	for _, s := range []string{"", "prometheus", "ns/prometheus", "/prometheus:9090", "ns/:9090", "ns/prometheus:"} {
		if _, err := New(&rest.Config{Host: "http://127.0.0.1"}, s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestOpenMetrics(t *testing.T) {
	var b bytes.Buffer
	err := OpenMetrics(&b, model.Matrix{
		{Metric: model.Metric{"__name__": "z", "pod": "a"}, Values: samples(0, 0.5)},
		{Metric: model.Metric{"__name__": "a", "le": "+Inf", "x": "q\"u\\o\nte"}, Values: []model.SamplePair{{Timestamp: 1234, Value: model.SampleValue(math.Inf(1))}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `a{le="+Inf",x="q\"u\\o\nte"} +Inf 1.234
z{pod="a"} 0 1899999997.000
z{pod="a"} 0.5 1899999998.000
# EOF
`
	if b.String() != want {
		t.Fatalf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestDump(t *testing.T) {
	mux := http.NewServeMux()
	answer := func(data string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"status":"success","data":%s}`, data) }
	}
	const prefix = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/"
	mux.HandleFunc(prefix+"query", answer(`{"resultType":"matrix","result":[{"metric":{"__name__":"up","pod":"a"},"values":[[1,"1"]]}]}`))
	mux.HandleFunc(prefix+"alerts", answer(`{"alerts":[]}`))
	mux.HandleFunc(prefix+"rules", answer(`{"groups":[]}`))
	mux.HandleFunc(prefix+"targets", answer(`{"activeTargets":[],"droppedTargets":[]}`))
	h := httptest.NewServer(mux)
	defer h.Close()
	c, err := New(&rest.Config{Host: h.URL}, "monitoring/prometheus:9090")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "prometheus")
	if err := c.Dump(t.Context(), dir, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "samples.om.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil || string(b) != "up{pod=\"a\"} 1 1.000\n# EOF\n" {
		t.Fatalf("samples.om.gz: %q, %v", b, err)
	}
	for _, name := range []string{"README", "alerts.json", "rules.json", "targets.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestDumpInParts: the server is never asked for more than it can hold, every moment of the run is in one part, and a
// sample that two parts have is there once.
func TestDumpInParts(t *testing.T) {
	start := time.Unix(1_000, 0)
	next := start // where the next part is to begin
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		var ms int64
		if _, err := fmt.Sscanf(r.Form.Get("query")[strings.LastIndex(r.Form.Get("query"), "["):], "[%dms]", &ms); err != nil {
			t.Error(err)
		}
		to, err := strconv.ParseFloat(r.Form.Get("time"), 64)
		if err != nil {
			t.Error(err)
		}
		from := time.UnixMilli(int64(to*1e3) - ms)
		if ms > dumpStep.Milliseconds() || from.After(next) || from.Before(next.Add(-2*time.Millisecond)) {
			t.Errorf("asked for %d ms from %v on, want at most %v from %v on", ms, from, dumpStep, next)
		}
		next = from.Add(time.Duration(ms) * time.Millisecond)
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[%d,"1"],[%d,"1"]]}]}}`,
			from.Unix(), next.Unix())
	}))
	defer h.Close()
	c, err := New(&rest.Config{Host: h.URL}, "monitoring/prometheus:9090")
	if err != nil {
		t.Fatal(err)
	}
	until := start.Add(2*dumpStep + 10*time.Second)
	series, err := c.all(t.Context(), start, until)
	if err != nil || !next.Equal(until) {
		t.Fatalf("asked up to %v: %v", next, err)
	}
	if len(series) != 1 || len(series[0].Values) != 4 {
		t.Errorf("%v, want one series of 4 samples", series)
	}
}
