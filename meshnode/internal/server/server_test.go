package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// fake is a Node that holds records in a map.
type fake struct {
	why     []string
	records map[string]store.Record
	err     error
	missing error // instead of ErrNotFound
	copies  int   // that were asked for last
	block   chan struct{}
	leaving bool
}

func (f *fake) Name() string       { return "n0" }
func (f *fake) Leaving() bool      { return f.leaving }
func (f *fake) NotReady() []string { return f.why }
func (f *fake) Knowledge() api.Knowledge {
	return api.Knowledge{Threats: []api.Threat{{Peer: "n9", Type: "high_failure_rate", Count: 7}}}
}
func (f *fake) Status() api.Status { return api.Status{Node: "n0", Ready: f.why == nil} }
func (f *fake) Events(after uint64, max int) []event.Entry {
	if f.block != nil {
		<-f.block
	}
	var es []event.Entry
	for i := after + 1; i <= 3 && len(es) < max; i++ {
		es = append(es, event.Entry{Seq: i, Kind: "k"})
	}
	return es
}
func (f *fake) Accept(_ context.Context, id string, body []byte, copies int) (store.Record, []string, error) {
	if f.block != nil {
		<-f.block
	}
	f.copies = copies
	if f.err != nil {
		return store.Record{}, nil, f.err
	}
	r := store.Record{ID: id, Node: "n0", Time: time.Unix(1e9, 0).UTC(), Body: body}
	f.records[id] = r
	return r, []string{"n0", "n1"}, nil
}
func (f *fake) Record(id string) (store.Record, error) {
	if r, ok := f.records[id]; ok {
		return r, f.err
	}
	return store.Record{}, cmp.Or(f.missing, store.ErrNotFound)
}
func (f *fake) Records(after string, max int) (page []store.Entry, more bool, err error) {
	if f.block != nil {
		<-f.block
	}
	for i := range 1500 {
		if id := fmt.Sprintf("%04d", i); id > after {
			if len(page) == max {
				return page, true, f.err
			}
			page = append(page, store.Entry{ID: id})
		}
	}
	return page, false, f.err
}

const secret = "s3cret"

func handlerFor(f *fake) http.Handler {
	return API(f, func() (string, error) { return secret, nil }, slog.New(slog.DiscardHandler))
}

func call(t *testing.T, h http.Handler, method, path, body string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+secret)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestKnowledgeIsServed(t *testing.T) {
	resp := call(t, handlerFor(&fake{why: []string{"no verifier"}}), "GET", api.KnowledgePath, "")
	var k api.Knowledge
	if err := json.NewDecoder(resp.Body).Decode(&k); err != nil || resp.StatusCode != 200 || len(k.Threats) != 1 || k.Threats[0].Peer != "n9" {
		t.Errorf("%d, %v: %+v", resp.StatusCode, err, k)
	}
}

func TestErrorsAreProblems(t *testing.T) {
	long := strings.Repeat("x", api.MaxID+1)
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		node                     fake
		status                   int
		retry                    bool
	}{
		{name: "no token", method: "GET", path: "/v1/status", header: []string{"Authorization", ""}, status: 401},
		{name: "wrong token", method: "GET", path: "/v1/status", header: []string{"Authorization", "Bearer s3cres"}, status: 401},
		{name: "token as prefix", method: "GET", path: "/v1/status", header: []string{"Authorization", "Bearer s3"}, status: 401},
		{name: "other scheme", method: "GET", path: "/v1/status", header: []string{"Authorization", "Basic s3cret"}, status: 401},
		{name: "no token for knowledge", method: "GET", path: "/v1/knowledge", header: []string{"Authorization", ""}, status: 401},
		{name: "no token, no such path", method: "GET", path: "/secret", header: []string{"Authorization", ""}, status: 401},
		{name: "no such path", method: "GET", path: "/v2/status", status: 404},
		{name: "method", method: "DELETE", path: "/v1/records/x", status: 405},
		{name: "no such record", method: "GET", path: "/v1/records/x", status: 404},
		{name: "no such record yet", method: "GET", path: "/v1/records/x", node: fake{missing: store.ErrBehind}, status: 503, retry: true},
		{name: "id too long", method: "PUT", path: "/v1/records/" + long, status: 413},
		{name: "id too long to read", method: "GET", path: "/v1/records/" + long, status: 413},
		{name: "after too long", method: "GET", path: "/v1/records?after=" + long, status: 413},
		{name: "control characters", method: "PUT", path: "/v1/records/a%00b", status: 400},
		{name: "not UTF-8", method: "PUT", path: "/v1/records/%ff", status: 400},
		{name: "body too large", method: "PUT", path: "/v1/records/x", body: strings.Repeat("x", api.MaxBody+1), status: 413},
		{name: "conflict", method: "PUT", path: "/v1/records/x", node: fake{err: store.ErrConflict}, status: 409},
		{name: "no holder", method: "PUT", path: "/v1/records/x", node: fake{err: store.ErrNoHolder}, status: 503, retry: true},
		{name: "too few for the copies", method: "PUT", path: "/v1/records/x?copies=2", node: fake{err: store.ErrTooFew}, status: 503, retry: true},
		{name: "no number of copies", method: "PUT", path: "/v1/records/x?copies=two", status: 400},
		{name: "no copies", method: "PUT", path: "/v1/records/x?copies=0", status: 400},
		{name: "the quota is reached", method: "PUT", path: "/v1/records/x", node: fake{err: fmt.Errorf("record: %w", store.ErrQuota)}, status: 507, retry: true},
		{name: "disk full", method: "PUT", path: "/v1/records/x", node: fake{err: errors.New("no space left on device")}, status: 503, retry: true},
		{name: "not ready to write", method: "PUT", path: "/v1/records/x", node: fake{why: []string{"verifier was detached"}}, status: 503, retry: true},
		{name: "not ready to read", method: "GET", path: "/v1/records/x", node: fake{why: []string{"verifier was detached"}}, status: 503, retry: true},
		{name: "bad after", method: "GET", path: "/v1/events?after=-1", status: 400},
		{name: "list fails", method: "GET", path: "/v1/records", node: fake{err: errors.New("damaged")}, status: 500},
	} {
		resp := call(t, handlerFor(&c.node), c.method, c.path, c.body, c.header...)
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var p map[string]any
		if err := json.Unmarshal(body, &p); err != nil {
			t.Errorf("%s: no JSON: %s", c.name, body)
			continue
		}
		if resp.StatusCode != c.status || p["status"] != float64(c.status) || p["title"] != http.StatusText(c.status) || p["detail"] == "" || resp.Header.Get("Content-Type") != api.ProblemType {
			t.Errorf("%s: %d %s, want %d", c.name, resp.StatusCode, body, c.status)
		}
		if got := resp.Header.Get("Retry-After") != ""; got != c.retry {
			t.Errorf("%s: Retry-After %q", c.name, resp.Header.Get("Retry-After"))
		}
		if strings.HasSuffix(c.path, "?copies=2") && c.node.copies != 2 {
			t.Errorf("%s: the node is asked for %d copies", c.name, c.node.copies)
		}
		if bytes.Contains(body, []byte(secret)) || bytes.Contains(body, []byte("device")) {
			t.Errorf("%s: the answer says too much: %s", c.name, body)
		}
	}
}

func TestRecords(t *testing.T) {
	f := &fake{records: map[string]store.Record{}}
	h := handlerFor(f)
	id := "a b/ü"
	resp := call(t, h, "PUT", "/v1/records/"+url.PathEscape(id), strings.Repeat("x", api.MaxBody))
	var r api.Record
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusCreated || r.ID != id || r.Size != api.MaxBody || len(r.Holders) != 2 {
		t.Errorf("PUT: %d %+v", resp.StatusCode, r)
	}
	resp = call(t, h, "GET", "/v1/records/"+url.PathEscape(id), "")
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || len(b) != api.MaxBody {
		t.Errorf("GET: %d, %d bytes, %v", resp.StatusCode, len(b), err)
	}
	var seen int
	for after, more := "", true; more; {
		var l api.RecordList
		if err := json.NewDecoder(call(t, h, "GET", "/v1/records?after="+after, "").Body).Decode(&l); err != nil {
			t.Fatal(err)
		}
		seen += len(l.Records)
		after, more = l.Records[len(l.Records)-1].ID, l.More
	}
	if seen != 1500 {
		t.Errorf("pages hold %d records", seen)
	}
}

func TestEventsAndStatusAreServedWhileNotReady(t *testing.T) {
	h := handlerFor(&fake{why: []string{"x"}})
	es, err := event.Read(call(t, h, "GET", "/v1/events?after=1", "").Body)
	if err != nil || len(es) != 2 || es[0].Seq != 2 {
		t.Errorf("events %+v, %v", es, err)
	}
	if resp := call(t, h, "GET", "/v1/status", ""); resp.StatusCode != 200 {
		t.Errorf("status: %d", resp.StatusCode)
	}
}

func TestTooManyWritesAreSentAway(t *testing.T) {
	f := &fake{records: map[string]store.Record{}, block: make(chan struct{})}
	h := &handler{node: f, token: func() (string, error) { return secret, nil }, writes: make(chan struct{}, 1), logger: slog.New(slog.DiscardHandler)}
	h.writes <- struct{}{}
	r := httptest.NewRequest("PUT", "/v1/records/x", nil)
	r.SetPathValue("id", "x")
	if p := h.put(httptest.NewRecorder(), r); p == nil || p.Status != 503 || p.RetryAfter == 0 {
		t.Errorf("%v", p)
	}
	<-h.writes
	close(f.block)
	if p := h.put(httptest.NewRecorder(), r); p != nil {
		t.Errorf("%v", p)
	}
	if len(h.writes) != 0 {
		t.Error("a place was not given back")
	}
}

func TestNoTokenYet(t *testing.T) {
	for name, token := range map[string]func() (string, error){
		"missing": func() (string, error) { return "", errors.New("no such file") },
		"empty":   func() (string, error) { return "", nil },
	} {
		resp := call(t, API(&fake{}, token, slog.New(slog.DiscardHandler)), "GET", "/v1/status", "", "Authorization", "Bearer ")
		if resp.StatusCode != 503 {
			t.Errorf("%s token: %d", name, resp.StatusCode)
		}
	}
}

func TestProbes(t *testing.T) {
	reg := prometheus.NewRegistry()
	metric.New(reg)
	why := []string{"verifier was detached"}
	h := Probes(reg, func() []string { return why })
	get := func(path string) (int, string) {
		resp := call(t, h, "GET", path, "", "Accept", "application/openmetrics-text")
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("health %d: a node that is not ready must not be restarted", code)
	}
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "verifier was detached") {
		t.Errorf("ready %d %s", code, body)
	}
	why = nil
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("ready %d", code)
	}
	if _, body := get("/metrics"); !strings.Contains(body, "\nx0tta6bl4_mesh_routes_recalculated 0\n") {
		t.Error("metrics are not in the classic text format")
	}
	for _, path := range []string{"/", "/v1/status", "/v1/records", "/debug/pprof/"} {
		if code, _ := get(path); code != 404 {
			t.Errorf("%s: %d on the plain port", path, code)
		}
	}
}

func FuzzAPI(f *testing.F) {
	f.Add("PUT", "x", "", "body")
	f.Add("GET", "%00", "after=%ff", "")
	f.Add("POST", "", "", "state")
	f.Fuzz(func(t *testing.T, method, id, query, body string) {
		path := "/v1/records/"
		if method == http.MethodPost || len(query)%2 == 1 {
			path = "/v1/sessions/"
		}
		u := &url.URL{Path: path + id, RawQuery: query}
		r, err := http.NewRequest(method, "http://n"+u.String(), strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Authorization", "Bearer "+secret)
		n := &fake{records: map[string]store.Record{}}
		w := httptest.NewRecorder()
		handlerFor(n).ServeHTTP(w, r)
		for id, rec := range n.records {
			if id == "" || len(id) > api.MaxID || len(rec.Body) > api.MaxBody {
				t.Errorf("accepted id of %d bytes, body of %d", len(id), len(rec.Body))
			}
		}
		if w.Code >= 500 {
			t.Errorf("%s %s: %d", method, u, w.Code)
		}
	})
}
