package client

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// setUp returns a client of a server that answers with h, and its history.
func setUp(t *testing.T, h http.HandlerFunc) (*Client, *History, string) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	a, err := identity.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := a.TrustFiles()
	files[identity.TrustAPICAFile] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	files["token"] = "secret\n"
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	history, err := OpenHistory(filepath.Join(dir, "history"), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := history.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := New(Config{
		Nodes: []string{s.URL}, TokenFile: filepath.Join(dir, "token"), TrustDir: dir, Interval: time.Millisecond, Size: 100,
		History: history, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, history, s.URL
}

func operations(t *testing.T, h *History) []api.Operation {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/history", nil))
	ops, err := api.ReadHistory(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

// Who is asked for the head of a history alone is told the time.
func TestHistoryTellsTheTime(t *testing.T) {
	h, err := OpenHistory(filepath.Join(t.TempDir(), "history"), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Append(api.Operation{Op: api.OpRead, Result: api.OK}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("HEAD", "/history", nil))
	told, err := time.Parse(time.RFC3339Nano, w.Header().Get(api.ClockHeader))
	if err != nil || time.Since(told).Abs() > time.Hour || w.Body.Len() > 0 {
		t.Errorf("%v, %v, and %d bytes", told, err, w.Body.Len())
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name     string
		op       string
		handler  func(n int64, w http.ResponseWriter, r *http.Request)
		result   api.Result
		found    bool
		status   int
		attempts int // at least
	}{
		{"written", api.OpWrite, func(_ int64, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, api.OK, false, 201, 1},
		{"written at the second attempt", api.OpWrite, func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				api.NewProblem(503, "wait").ServeHTTP(w, r)
				return
			}
			w.WriteHeader(201)
		}, api.OK, false, 201, 2},
		{"refused for good", api.OpWrite, func(_ int64, w http.ResponseWriter, r *http.Request) { api.NewProblem(409, "taken").ServeHTTP(w, r) }, api.Failed, false, 409, 1},
		{"perhaps written", api.OpWrite, func(_ int64, w http.ResponseWriter, r *http.Request) {
			api.NewProblem(503, "no holder").ServeHTTP(w, r)
		}, api.Unknown, false, 503, 3},
		{"connection lost", api.OpWrite, func(_ int64, _ http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, api.Unknown, false, 0, 3},
		{"read", api.OpRead, func(_ int64, w http.ResponseWriter, _ *http.Request) {
			if _, err := w.Write(api.RecordBody("id", 100)); err != nil {
				t.Error(err)
			}
		}, api.OK, true, 200, 1},
		{"not there", api.OpRead, func(_ int64, w http.ResponseWriter, r *http.Request) { api.NewProblem(404, "none").ServeHTTP(w, r) }, api.OK, false, 404, 1},
		{"wrong content", api.OpRead, func(_ int64, w http.ResponseWriter, _ *http.Request) {
			if _, err := w.Write(api.RecordBody("other", 100)); err != nil {
				t.Error(err)
			}
		}, api.Failed, false, 200, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			cl, h, url := setUp(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer secret" {
					t.Error("no token sent")
				}
				c.handler(n.Add(1), w, r)
			})
			l := &caller{c: cl, at: &target{url: url, node: "n"}}
			defer l.close()
			ask := cl.write("id")
			if c.op == api.OpRead {
				ask = cl.read("id")
			}
			l.do(t.Context(), ask)
			ops := operations(t, h)
			if len(ops) != 1 {
				t.Fatalf("%d operations", len(ops))
			}
			o := ops[0]
			// The budget may end in the middle of the last attempt.
			answered := o.Status == c.status || o.Status == 0 && cutShort(o)
			if o.Result != c.result || o.Found != c.found || !answered || o.Attempts < c.attempts || len(o.Errors) < c.attempts-1 {
				t.Errorf("%+v", o)
			}
			if d := o.Returned.Sub(o.Invoked); d < 0 || d > api.RetryBudget+time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// cutShort reports whether the end of the budget cut the last attempt.
func cutShort(o api.Operation) bool {
	return len(o.Errors) > 0 && strings.HasSuffix(o.Errors[len(o.Errors)-1], context.DeadlineExceeded.Error())
}

func TestNotSentIsAFailure(t *testing.T) {
	c, h, _ := setUp(t, nil)
	l := &caller{c: c, at: &target{url: "https://127.0.0.1:1", node: "n"}}
	l.do(t.Context(), c.write("x"))
	o := operations(t, h)
	if len(o) != 1 || o[0].Status != 0 || o[0].Attempts < 3 {
		t.Fatalf("%+v", o)
	}
	// The budget may end in the middle of an attempt; of that one nobody knows.
	if want := map[bool]api.Result{false: api.Failed, true: api.Unknown}[cutShort(o[0])]; o[0].Result != want {
		t.Errorf("%s, want %s: %+v", o[0].Result, want, o)
	}
}

// A node that does not answer gets a rival; whichever answers first, wins.
func TestUnansweredAttemptGetsARival(t *testing.T) {
	for name, answers := range map[string]int64{"the node is gone": 2, "the node is slow": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			rival := make(chan struct{})
			cl, h, url := setUp(t, func(w http.ResponseWriter, r *http.Request) {
				nth := n.Add(1)
				if nth == 2 {
					close(rival)
				}
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					t.Error(err)
				}
				<-rival
				if nth != answers {
					<-r.Context().Done() // the client gave it up
					return
				}
				w.WriteHeader(201)
			})
			l := &caller{c: cl, at: &target{url: url, node: "n"}}
			defer l.close()
			l.do(t.Context(), cl.write("id"))
			o := operations(t, h)[0]
			if o.Result != api.OK || o.Status != 201 || o.Attempts != 2 || len(o.Errors) != 0 {
				t.Errorf("%+v", o)
			}
		})
	}
}

// TestRunReadsBackWhatItWrote, and leaves nothing out of its history.
func TestRunReadsBackWhatItWrote(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stored := map[string][]byte{}
	var requests atomic.Int64
	c, h, _ := setUp(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 20 {
			cancel()
		}
		id := strings.TrimPrefix(r.URL.Path, api.RecordsPath+"/")
		if r.Method == http.MethodPut {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			stored[id] = b // one node: requests come one after the other
			w.WriteHeader(201)
			return
		}
		if _, err := w.Write(stored[id]); err != nil {
			t.Error(err)
		}
	})
	c.Run(ctx)
	reads, attempts := 0, 0
	for _, o := range operations(t, h) {
		attempts += o.Attempts
		if o.Result != api.OK {
			t.Errorf("%+v", o)
		}
		if o.Op == api.OpRead && o.Found {
			reads++
		}
	}
	if reads < 5 {
		t.Errorf("%d records read back", reads)
	}
	// The last one was under way when the client was stopped.
	if n := requests.Load(); attempts != int(n) {
		t.Errorf("%d attempts in the history, %d requests", attempts, n)
	}
}

// TestSessionsWaitForTheNodes: each node is to be home to some.
func TestSessionsWaitForTheNodes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var up atomic.Bool
	var opened atomic.Int64
	c, _, url := setUp(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !up.Load():
			if r.Method == http.MethodPost {
				t.Error("a session was opened before the node had answered")
			}
			api.NewProblem(503, "starting").ServeHTTP(w, r)
		case r.Method == http.MethodPost:
			opened.Add(1)
			cancel()
			api.NewProblem(503, "enough").ServeHTTP(w, r)
		default:
			w.WriteHeader(201)
		}
	})
	c.cfg.Service, c.cfg.Sessions = url, 1
	time.AfterFunc(500*time.Millisecond, func() { up.Store(true) })
	c.Run(ctx)
	if opened.Load() == 0 {
		t.Error("no session was opened afterwards")
	}
}

func TestBodyFollowsFromID(t *testing.T) {
	a, b := api.RecordBody("a", 1000), api.RecordBody("b", 1000)
	if len(a) != 1000 || bytes.Equal(a, b) || !bytes.Equal(a, api.RecordBody("a", 1000)) || len(api.RecordBody("a", 1)) != 1 {
		t.Error("bodies do not follow from ids")
	}
}

func TestBadNodes(t *testing.T) {
	for _, nodes := range [][]string{nil, {"http://plain:8443"}, {"node"}, {""}} {
		if _, err := New(Config{Nodes: nodes}); err == nil {
			t.Errorf("%q accepted", nodes)
		}
	}
}
