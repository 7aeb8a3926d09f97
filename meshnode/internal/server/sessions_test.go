package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/home"
)

const sessionOne = "00000000000000000000000000000001"

func (f *fake) CreateSession(_ context.Context, body []byte) (home.Session, error) {
	return home.Session{ID: sessionOne, Home: "n1", Epoch: 1, Version: 1}, f.err
}

func (f *fake) Session(_ context.Context, id string) (home.Session, error) {
	return home.Session{ID: id, Home: "n1", Epoch: 2, Version: 7, Body: []byte("state")}, f.err
}

func (f *fake) UpdateSession(_ context.Context, id string, match *uint64, body []byte) (home.Session, error) {
	if match != nil && *match != 7 {
		return home.Session{ID: id, Version: 7}, fmt.Errorf("%w: 7", home.ErrConflict)
	}
	return home.Session{ID: id, Home: "n1", Epoch: 2, Version: 8}, f.err
}

func TestSessions(t *testing.T) {
	h := handlerFor(&fake{})
	one := api.SessionsPath + "/" + sessionOne
	for _, c := range []struct {
		method, path, match string
		status              int
		etag                string
		want                api.Session
	}{
		{"POST", api.SessionsPath, "", 201, `"1"`, api.Session{ID: sessionOne, Home: "n1", Node: "n0", Epoch: 1, Version: 1}},
		{"GET", one, "", 200, `"7"`, api.Session{ID: sessionOne, Home: "n1", Node: "n0", Epoch: 2, Version: 7, Body: []byte("state")}},
		{"PUT", one, "", 200, `"8"`, api.Session{ID: sessionOne, Home: "n1", Node: "n0", Epoch: 2, Version: 8}},
		{"PUT", one, `"7"`, 200, `"8"`, api.Session{ID: sessionOne, Home: "n1", Node: "n0", Epoch: 2, Version: 8}},
		{"PUT", one, `*`, 200, `"8"`, api.Session{ID: sessionOne, Home: "n1", Node: "n0", Epoch: 2, Version: 8}},
	} {
		resp := call(t, h, c.method, c.path, "state", "If-Match", c.match)
		var got api.Session
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != c.status || fmt.Sprint(got) != fmt.Sprint(c.want) || resp.Header.Get("ETag") != c.etag {
			t.Errorf("%s %s: %d %+v, ETag %s", c.method, c.path, resp.StatusCode, got, resp.Header.Get("ETag"))
		}
		if loc := resp.Header.Get("Location"); (c.method == "POST") != (loc == one) {
			t.Errorf("%s: Location %q", c.method, loc)
		}
	}
}

func TestSessionProblems(t *testing.T) {
	one := api.SessionsPath + "/" + sessionOne
	large := strings.Repeat("x", api.MaxSession+1)
	for _, c := range []struct {
		name, method, path, body, match string
		node                            fake
		status                          int
		retry                           bool
	}{
		{name: "state too large to create", method: "POST", path: api.SessionsPath, body: large, status: 413},
		{name: "state too large", method: "PUT", path: one, body: large, status: 413},
		{name: "id too long", method: "GET", path: api.SessionsPath + "/" + strings.Repeat("0", api.MaxID+1), status: 413},
		{name: "id that is none", method: "GET", path: api.SessionsPath + "/x", status: 400},
		{name: "id in capitals", method: "PUT", path: api.SessionsPath + "/" + strings.Repeat("A", 32), status: 400},
		{name: "weak tag", method: "PUT", path: one, match: `W/"7"`, status: 400},
		{name: "tag without quotes", method: "PUT", path: one, match: `7`, status: 400},
		{name: "two tags", method: "PUT", path: one, match: `"7", "8"`, status: 400},
		{name: "other version", method: "PUT", path: one, match: `"6"`, status: 412},
		{name: "missing", method: "GET", path: one, node: fake{err: home.ErrMissing}, status: 404},
		{name: "home out of reach", method: "PUT", path: one, node: fake{err: fmt.Errorf("no: %w", home.ErrBusy)}, status: 503, retry: true},
		{name: "no room", method: "POST", path: api.SessionsPath, node: fake{err: fmt.Errorf("full: %w", home.ErrBusy)}, status: 503, retry: true},
		{name: "client gone", method: "GET", path: one, node: fake{err: errors.New("context canceled")}, status: 503, retry: true},
		{name: "not ready", method: "GET", path: one, node: fake{why: []string{"verifier was detached"}}, status: 503, retry: true},
		{name: "method", method: "DELETE", path: one, status: 405},
		{name: "list", method: "GET", path: api.SessionsPath, status: 405},
	} {
		resp := call(t, handlerFor(&c.node), c.method, c.path, c.body, "If-Match", c.match)
		var p api.Problem
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Detail == "" {
			t.Errorf("%s: no problem document: %v", c.name, err)
		}
		if resp.StatusCode != c.status || (resp.Header.Get("Retry-After") != "") != c.retry {
			t.Errorf("%s: %d, Retry-After %q", c.name, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
}

func TestLeavingNodeSendsConnectionsElsewhere(t *testing.T) {
	for _, leaving := range []bool{false, true} {
		resp := call(t, handlerFor(&fake{leaving: leaving}), http.MethodGet, api.StatusPath, "")
		if resp.StatusCode != 200 || (resp.Header.Get("Connection") == "close") != leaving {
			t.Errorf("leaving %v: %d, Connection %q", leaving, resp.StatusCode, resp.Header.Get("Connection"))
		}
	}
}
