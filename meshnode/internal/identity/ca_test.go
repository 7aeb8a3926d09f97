package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEnrol(t *testing.T) {
	e := newEnrolment(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	node, err := e.enroller.Enrol(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if node.Name() != "mesh-node-a-0" || node.Zone() != "zone-a" {
		t.Errorf("enrolled as %s in %s", node.Name(), node.Zone())
	}
	if err := node.Verify(node.Credential().Certificate); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"mesh-node-a-0.mesh-nodes.mesh.svc", "mesh-api.mesh.svc", "127.0.0.1"} {
		opts := x509.VerifyOptions{Roots: node.Trust().APICA, DNSName: name}
		if _, err := node.Credential().TLS.Leaf.Verify(opts); err != nil {
			t.Errorf("TLS certificate for %s: %v", name, err)
		}
	}
	if node.Credential().TLS.Leaf.VerifyHostname("mesh-ca") == nil {
		t.Error("a node's TLS certificate also names the CA")
	}
	if _, err := (&Enroller{}).Enrol(t.Context()); err == nil {
		t.Error("enrolment without a deadline was started")
	}
}

// request makes a good request that change may spoil before and spoil after it
// is signed.
func (e *enrolment) request(t *testing.T, change, spoil func(*EnrolRequest)) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"mesh-ca"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	mesh := GenerateKey()
	r := newEnrolRequest("good", "mesh-node-a-0", "zone-a", mesh, csr, time.Now())
	if change != nil {
		change(r)
		r.Proof = mesh.Sign(ContextEnrolment, r.signed())
	}
	if spoil != nil {
		spoil(r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (e *enrolment) post(t *testing.T, body []byte) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.authority.Trust().APICA}}}
	defer client.CloseIdleConnections()
	resp, err := client.Post(e.server.URL+"/v1/enrol", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if cerr := resp.Body.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	return resp.StatusCode, string(b)
}

func TestEnrolRefusals(t *testing.T) {
	e := newEnrolment(t)
	status := func(old, new string) string {
		s := bytes.Replace([]byte(goodStatus), []byte(old), []byte(new), 1)
		if string(s) == goodStatus {
			t.Fatalf("%q is not in the status", old)
		}
		return string(s)
	}
	e.api.tokens["audience"] = status(`["x0tta6bl4-mesh"]`, `["https://kubernetes.default.svc"]`)
	e.api.tokens["not authenticated"] = status(`"authenticated":true`, `"authenticated":false`)
	e.api.tokens["no audience"] = status(`"audiences":["x0tta6bl4-mesh"],`, "")
	e.api.tokens["namespace"] = status(":mesh:", ":other:")
	e.api.tokens["account"] = status(":mesh-node", ":mesh-client")
	e.api.tokens["pod"] = status("mesh-node-a-0", "mesh-node-b-1")
	e.api.tokens["unbound"] = status(`"authentication.kubernetes.io/pod-name":["mesh-node-a-0"]`, "")
	e.api.tokens["user"] = status("system:serviceaccount:mesh:mesh-node", "admin")
	token := func(s string) func(*EnrolRequest) { return func(r *EnrolRequest) { r.Token = s } }
	for _, test := range []struct {
		name          string
		change, spoil func(*EnrolRequest)
		want          int
	}{
		{"as it should be", func(*EnrolRequest) {}, nil, http.StatusOK},
		{"unknown token", token("stolen"), nil, http.StatusUnauthorized},
		{"token that is not authenticated", token("not authenticated"), nil, http.StatusUnauthorized},
		{"wrong audience", token("audience"), nil, http.StatusUnauthorized},
		{"audience not checked by the server", token("no audience"), nil, http.StatusUnauthorized},
		{"token of no pod", token("unbound"), nil, http.StatusUnauthorized},
		{"token of a user", token("user"), nil, http.StatusUnauthorized},
		{"foreign namespace", token("namespace"), nil, http.StatusForbidden},
		{"other service account", token("account"), nil, http.StatusForbidden},
		{"token of another pod", token("pod"), nil, http.StatusForbidden},
		{"name of another pod", func(r *EnrolRequest) { r.Name = "mesh-node-b-1" }, nil, http.StatusForbidden},
		{"old", func(r *EnrolRequest) { r.Time = r.Time.Add(-enrolWindow - time.Minute) }, nil, http.StatusForbidden},
		{"from the future", func(r *EnrolRequest) { r.Time = r.Time.Add(enrolWindow + time.Minute) }, nil, http.StatusForbidden},
		{"clock an hour behind", func(r *EnrolRequest) { r.Time = r.Time.Add(-ClockSkew) }, nil, http.StatusOK},
		{"key not held", nil, func(r *EnrolRequest) { r.PublicKey = GenerateKey().Public().Bytes() }, http.StatusForbidden},
		{"proof for another token", nil, token("pod"), http.StatusForbidden},
		{"zone changed under way", nil, func(r *EnrolRequest) { r.Zone = "zone-b" }, http.StatusForbidden},
		{"bad name", func(r *EnrolRequest) { r.Name = "../x" }, nil, http.StatusBadRequest},
		{"no CSR", func(r *EnrolRequest) { r.CSR = nil }, nil, http.StatusBadRequest},
		{"bad CSR", func(r *EnrolRequest) { r.CSR[len(r.CSR)-1] ^= 1 }, nil, http.StatusBadRequest},
		{"short key", func(r *EnrolRequest) { r.PublicKey = r.PublicKey[1:] }, nil, http.StatusBadRequest},
	} {
		code, body := e.post(t, e.request(t, test.change, test.spoil))
		if code != test.want {
			t.Errorf("%s: %d %s, want %d", test.name, code, body, test.want)
		}
	}
	for name, test := range map[string]struct {
		body []byte
		want int
	}{
		"no JSON":       {[]byte("hello"), http.StatusBadRequest},
		"unknown field": {[]byte(`{"root":true}`), http.StatusBadRequest},
		"two values":    {append(e.request(t, nil, nil), "{}"...), http.StatusBadRequest},
		"huge":          {bytes.Repeat([]byte(" "), maxEnrolBody+1), http.StatusRequestEntityTooLarge},
	} {
		if code, body := e.post(t, test.body); code != test.want {
			t.Errorf("%s: %d %s, want %d", name, code, body, test.want)
		}
	}
	e.api.mu.Lock()
	e.api.down = true
	e.api.mu.Unlock()
	if code, _ := e.post(t, e.request(t, nil, nil)); code != http.StatusServiceUnavailable {
		t.Errorf("API server down: %d, want 503", code)
	}
}

func TestEnrolReplay(t *testing.T) {
	e := newEnrolment(t)
	body := e.request(t, nil, nil)
	if code, answer := e.post(t, body); code != http.StatusOK {
		t.Fatalf("first time: %d %s", code, answer)
	}
	if code, answer := e.post(t, body); code != http.StatusConflict {
		t.Errorf("replayed: %d %s, want 409", code, answer)
	}
	var r EnrolRequest
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	key, err := ParsePublicKey(r.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	r.Nonce[0] ^= 1
	if _, err := e.ca.enrol(t.Context(), &r, key, nil, time.Now()); err == nil {
		t.Error("a replay with another nonce was granted")
	}
}

func TestCSRNamesAreIgnored(t *testing.T) {
	e := newEnrolment(t)
	_, answer := e.post(t, e.request(t, nil, nil)) // its CSR asks for mesh-ca
	var r EnrolResponse
	if err := json.Unmarshal([]byte(answer), &r); err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(r.TLSCertificate)
	if err != nil {
		t.Fatal(err)
	}
	if leaf.VerifyHostname("mesh-ca") == nil {
		t.Error("a node got the CA's name")
	}
	if leaf.VerifyHostname("mesh-node-a-0") != nil || !leaf.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)) {
		t.Errorf("names %v %v", leaf.DNSNames, leaf.IPAddresses)
	}
}

func TestEnrolRefusesForeignCA(t *testing.T) {
	e := newEnrolment(t)
	// The server is right, the mesh root is not: as when an attacker who has got
	// hold of the API CA's key runs a CA of its own.
	foreign := testAuthority(t)
	mixed := e.authority.TrustFiles()
	mixed[TrustRootFile] = foreign.TrustFiles()[TrustRootFile]
	dir := t.TempDir()
	for name, content := range mixed {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.enroller.TrustDir = dir
	if _, _, err := e.enroller.attempt(t.Context()); !errors.Is(err, ErrForged) {
		t.Errorf("certificate of a foreign root: %v, want ErrForged", err)
	}
	e.enroller.TrustDir = writeTrust(t, foreign)
	if _, _, err := e.enroller.attempt(t.Context()); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("TLS to a foreign CA: %v, want a certificate error", err)
	}
}

// What a node gets has to be for its own keys and name, or it would show a
// certificate that it cannot use, or that is somebody else's.
func TestEnrolChecksTheAnswer(t *testing.T) {
	e := newEnrolment(t)
	now, later := time.Now(), time.Now().Add(time.Hour)
	key := GenerateKey()
	pair, err := e.authority.ServerCertificate([]string{"mesh-node-a-0"}, now, later)
	if err != nil {
		t.Fatal(err)
	}
	tlsKey, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("TLS key %T", pair.PrivateKey)
	}
	other, err := e.authority.ServerCertificate([]string{"mesh-node-a-0"}, now, later)
	if err != nil {
		t.Fatal(err)
	}
	wrongName, err := e.authority.IssueTLS(tlsKey.Public(), []string{"mesh-node-b-0"}, nil, now, later)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string, key *PublicKey) []byte {
		c, err := e.authority.Issue(name, "", key, now, later)
		if err != nil {
			t.Fatal(err)
		}
		return c.Bytes()
	}
	good := issue("mesh-node-a-0", key.Public())
	for name, test := range map[string]struct {
		mesh, tls []byte
		ok        bool
	}{
		"right":            {good, pair.Certificate[0], true},
		"another name":     {issue("mesh-node-b-0", key.Public()), pair.Certificate[0], false},
		"another key":      {issue("mesh-node-a-0", GenerateKey().Public()), pair.Certificate[0], false},
		"another TLS key":  {good, other.Certificate[0], false},
		"another TLS name": {good, wrongName, false},
		"truncated":        {good[1:], pair.Certificate[0], false},
		"no TLS":           {good, nil, false},
	} {
		_, _, err := e.enroller.check(&EnrolResponse{test.mesh, test.tls}, e.authority.Trust(), key, tlsKey)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRootChangeIsNoticed: another root is, and what is missing or broken is none.
func TestRootChangeIsNoticed(t *testing.T) {
	e := newEnrolment(t)
	node, err := e.authority.NewNode("mesh-node-a-0", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if e.enroller.follow(node) {
		t.Error("the same root counts as changed")
	}
	e.enroller.TrustDir = t.TempDir()
	if e.enroller.follow(node) {
		t.Error("a missing bundle counts as changed")
	}
	e.enroller.TrustDir = writeTrust(t, testAuthority(t))
	if !e.enroller.follow(node) || !node.Trust().Root.Equal(e.authority.Trust().Root) {
		t.Error("another root was not noticed")
	}
}

func TestEnrolRetriesUntilTheTokenIsThere(t *testing.T) {
	e := newEnrolment(t)
	if err := os.WriteFile(e.token, []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := make(chan struct{})
	once := sync.OnceFunc(func() { close(refused) })
	e.enroller.Logger = slog.New(hook{slog.DiscardHandler, once})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := e.enroller.Enrol(ctx)
		result <- err
	}()
	<-refused
	if err := os.WriteFile(e.token, []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestEnrolEndsAtTheDeadline(t *testing.T) {
	e := newEnrolment(t)
	e.server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := e.enroller.Enrol(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
}

// A certificate of three seconds is replaced before it ends, and the node always
// has a valid one.
func TestRenewal(t *testing.T) {
	e := newEnrolment(t, func(c *CAConfig) { c.Life = 3 * time.Second })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	node, err := e.enroller.Enrol(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := node.Credential()
	renewed := make(chan struct{})
	e.enroller.Logger = slog.New(hook{slog.DiscardHandler, sync.OnceFunc(func() { close(renewed) })})
	stop, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { e.enroller.KeepRenewed(stop, node); close(done) }()
	select {
	case <-renewed:
	case <-ctx.Done():
		t.Fatal("no renewal")
	}
	end()
	<-done
	second := node.Credential()
	if first == second || first.Certificate.Serial == second.Certificate.Serial || first.Key == second.Key {
		t.Error("the credential was not replaced")
	}
	if !time.Now().Before(first.Certificate.NotAfter.Add(time.Second)) {
		t.Error("renewed only after the old certificate had ended")
	}
}

func TestPublishTrust(t *testing.T) {
	e := newEnrolment(t)
	for range 2 {
		if err := e.ca.Publish(t.Context(), e.kube); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(e.api.methods); got != "[PUT POST PUT]" {
		t.Errorf("requests %s, want an update, a creation and an update", got)
	}
	if _, err := ParseTrust([]byte(e.api.data[TrustRootFile]), []byte(e.api.data[TrustAPICAFile])); err != nil {
		t.Error(err)
	}
}

// TestAPITokenIsProvided: the CA fills the Secret of the manifests once, and makes none.
func TestAPITokenIsProvided(t *testing.T) {
	e := newEnrolment(t)
	provide := func() error { return e.ca.ProvideAPIToken(t.Context(), e.kube, "mesh-api-token") }
	if err := provide(); err == nil || !strings.Contains(err.Error(), "secret mesh/mesh-api-token is not there") {
		t.Errorf("without the Secret: %v", err)
	}

	e.api.secret = map[string][]byte{"other": []byte("kept")}
	if err := provide(); err != nil {
		t.Fatal(err)
	}
	token := string(e.api.secret["token"])
	if b, err := hex.DecodeString(token); err != nil || len(b) != 32 || string(e.api.secret["other"]) != "kept" {
		t.Errorf("the Secret has a token of %d characters and other=%s, %v", len(token), e.api.secret["other"], err)
	}
	if err := provide(); err != nil || string(e.api.secret["token"]) != token {
		t.Errorf("a token that is there was changed, %v", err)
	}
	if got := fmt.Sprint(e.api.methods); got != "[PATCH]" {
		t.Errorf("requests %s, want one change", got)
	}

	e.api.secret = map[string][]byte{}
	if err := provide(); err != nil || string(e.api.secret["token"]) == token {
		t.Errorf("another mesh has the same token, %v", err)
	}

	// Somebody else fills it between the question and the change.
	e.api.secret = map[string][]byte{}
	e.api.meddle = func() { e.api.secret, e.api.version = map[string][]byte{"token": []byte("theirs")}, e.api.version+1 }
	if err := provide(); err == nil || !strings.Contains(err.Error(), "409") || strings.Contains(err.Error(), "theirs") {
		t.Errorf("after a change in between: %v", err)
	}
	if got := string(e.api.secret["token"]); got != "theirs" {
		t.Errorf("the token of somebody else became %q", got)
	}
}

func FuzzParseEnrolRequest(f *testing.F) {
	r := newEnrolRequest("t", "n", "", GenerateKey(), []byte("csr"), time.Unix(0, 0))
	b, err := json.Marshal(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"time":"0000-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, key, err := parseEnrolRequest(b)
		if err != nil {
			if !errors.Is(err, errRequest) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if !ValidName(r.Name) || key == nil {
			t.Fatalf("accepted %+v", r)
		}
		r.signed()
	})
}
