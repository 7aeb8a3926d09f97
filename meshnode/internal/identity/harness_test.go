package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// apiServer is a Kubernetes API server that knows tokens, one ConfigMap and one Secret.
type apiServer struct {
	t      *testing.T
	tokens map[string]string // token to the review's status

	mu      sync.Mutex
	data    map[string]string
	methods []string
	down    bool
	secret  map[string][]byte // nil: it is not there
	meddle  func()            // after the Secret was read
	version int               // of the Secret
}

const (
	goodStatus = `{"authenticated":true,"audiences":["x0tta6bl4-mesh"],"user":{"username":"system:serviceaccount:mesh:mesh-node","extra":{"authentication.kubernetes.io/pod-name":["mesh-node-a-0"]}}}`
	ownToken   = "ca-own-token"
)

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		http.Error(w, "down", http.StatusInternalServerError)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+ownToken {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /apis/authentication.k8s.io/v1/tokenreviews":
		var review struct {
			Spec struct {
				Token     string
				Audiences []string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || len(review.Spec.Audiences) != 1 || review.Spec.Audiences[0] != Audience {
			s.t.Errorf("token review: %v %+v", err, review)
		}
		status := s.tokens[review.Spec.Token]
		if status == "" {
			status = `{"authenticated":false,"error":"unknown token"}`
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"kind":"TokenReview","status":%s}`, status)
	case "GET /api/v1/namespaces/mesh/configmaps/mesh-trust":
		if s.data == nil {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		// As the real one: metadata is no map of strings.
		meta := map[string]any{"name": TrustConfigMap, "managedFields": []any{map[string]any{"manager": "mesh-ca"}}}
		if err := json.NewEncoder(w).Encode(map[string]any{"metadata": meta, "data": s.data}); err != nil {
			s.t.Error(err)
		}
	case "PUT /api/v1/namespaces/mesh/configmaps/mesh-trust", "POST /api/v1/namespaces/mesh/configmaps":
		s.methods = append(s.methods, r.Method)
		var m configMap
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || m.Metadata["name"] != TrustConfigMap {
			s.t.Errorf("ConfigMap: %v %+v", err, m)
		}
		if r.Method == http.MethodPut && s.data == nil {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		s.data = m.Data
	case "GET /api/v1/namespaces/mesh/secrets/mesh-api-token":
		if s.secret == nil {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		answer := map[string]any{"metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version)}, "data": s.secret}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			s.t.Error(err)
		}
		if s.meddle != nil {
			s.meddle()
		}
	case "PATCH /api/v1/namespaces/mesh/secrets/mesh-api-token":
		s.methods = append(s.methods, r.Method)
		var patch secret
		if err := json.NewDecoder(r.Body).Decode(&patch); err != nil || r.Header.Get("Content-Type") != "application/merge-patch+json" {
			s.t.Errorf("patch of type %s: %v", r.Header.Get("Content-Type"), err)
		}
		if patch.Metadata.ResourceVersion != strconv.Itoa(s.version) {
			http.Error(w, "conflict", http.StatusConflict)
			return
		}
		maps.Copy(s.secret, patch.Data)
		s.version++
	default:
		s.t.Errorf("unexpected request %s %s", r.Method, r.URL.Path)
	}
}

// enrolment is a CA with its API server, and an Enroller that may use it.
type enrolment struct {
	api       *apiServer
	kube      *Kube
	authority *Authority
	ca        *CA
	server    *httptest.Server
	enroller  *Enroller
	token     string // the file
}

func newEnrolment(t *testing.T, change ...func(*CAConfig)) *enrolment {
	t.Helper()
	e := &enrolment{authority: testAuthority(t), api: &apiServer{t: t, tokens: map[string]string{"good": goodStatus}}}
	api := httptest.NewServer(e.api)
	t.Cleanup(api.Close)
	dir := t.TempDir()
	e.token = filepath.Join(dir, "token")
	own := filepath.Join(dir, "own")
	for file, content := range map[string]string{e.token: "good\n", own: ownToken} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.kube = &Kube{URL: api.URL, Client: api.Client(), TokenFile: own}
	cfg := CAConfig{Authority: e.authority, Reviewer: e.kube, Namespace: "mesh", ServiceAccount: "mesh-node", Hosts: []string{"127.0.0.1"}}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if e.ca, err = NewCA(cfg); err != nil {
		t.Fatal(err)
	}
	e.server = httptest.NewUnstartedServer(e.ca.Handler())
	if e.server.TLS, err = e.ca.TLSConfig(); err != nil {
		t.Fatal(err)
	}
	e.server.StartTLS()
	t.Cleanup(e.server.Close)
	e.enroller = &Enroller{URL: e.server.URL, TokenFile: e.token, TrustDir: writeTrust(t, e.authority), Name: "mesh-node-a-0", Zone: "zone-a"}
	return e
}

func writeTrust(t *testing.T, a *Authority) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range a.TrustFiles() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// hook calls f for every record.
type hook struct {
	slog.Handler
	f func()
}

func (h hook) Enabled(context.Context, slog.Level) bool { return true }
func (h hook) Handle(context.Context, slog.Record) error {
	h.f()
	return nil
}
