package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

func TestProblemRoundTrip(t *testing.T) {
	p := api.NewProblem(http.StatusServiceUnavailable, "wait for %s", "me")
	p.RetryAfter = 1500 * time.Millisecond
	w := httptest.NewRecorder()
	p.ServeHTTP(w, nil)
	resp := w.Result()
	if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" || resp.StatusCode != 503 {
		t.Errorf("%d %s", resp.StatusCode, ct)
	}
	if ra := resp.Header.Get("Retry-After"); ra != "2" {
		t.Errorf("Retry-After %q, want it rounded up", ra)
	}
	got := api.ReadProblem(resp)
	if got.Title != "Service Unavailable" || got.Status != 503 || got.Detail != "wait for me" || got.RetryAfter != 2*time.Second {
		t.Errorf("read back %+v", got)
	}
}

func TestReadProblemOfSomethingElse(t *testing.T) {
	w := httptest.NewRecorder()
	w.WriteHeader(http.StatusBadGateway)
	if _, err := w.WriteString("<html>" + strings.Repeat("x", 100000)); err != nil {
		t.Fatal(err)
	}
	got := api.ReadProblem(w.Result())
	if got.Status != 502 || got.Title != "Bad Gateway" {
		t.Errorf("%+v", got)
	}
}
