package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// apiServer plays the two resources of the Kubernetes API that the authority
// uses: token reviews, where the token "token of X" belongs to pod X, and one
// ConfigMap, which it writes to the directory that the nodes mount.
type apiServer struct {
	c           *cluster
	certificate string
	port        string
	done        atomic.Bool
}

func newAPIServer(c *cluster) *apiServer {
	c.t.Helper()
	a := &apiServer{c: c}
	s := httptest.NewUnstartedServer(a)
	if err := s.Listener.Close(); err != nil {
		c.t.Fatal(err)
	}
	if err := c.inHub(func() (err error) { s.Listener, err = net.Listen("tcp", hubIP+":0"); return err }); err != nil {
		c.t.Fatal(err)
	}
	cert, err := serverCertificate(hubIP)
	if err != nil {
		c.t.Fatal(err)
	}
	s.TLS = cert
	a.certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificates[0].Certificate[1]}))
	s.StartTLS()
	c.t.Cleanup(s.Close)
	_, a.port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return a
}

func (a *apiServer) published() error {
	if !a.done.Load() {
		return errors.New("no ConfigMap yet")
	}
	return nil
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer token of mesh-ca" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	const configMaps = "/api/v1/namespaces/test/configmaps"
	switch r.Method + " " + r.URL.Path {
	case "GET " + configMaps + "/" + identity.TrustConfigMap, "PUT " + configMaps + "/" + identity.TrustConfigMap:
		w.WriteHeader(http.StatusNotFound) // as before the first time
	case "POST " + configMaps:
		var m struct{ Data map[string]string }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for name, content := range m.Data {
			a.c.write(filepath.Join("trust", name), content)
		}
		w.WriteHeader(http.StatusCreated)
		a.done.Store(true)
	case "POST /apis/authentication.k8s.io/v1/tokenreviews":
		var review struct {
			Spec struct {
				Token     string
				Audiences []string
			} `json:"spec"`
			Status map[string]any `json:"status"`
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		pod, ok := strings.CutPrefix(review.Spec.Token, "token of ")
		review.Status = map[string]any{
			"authenticated": ok, "audiences": review.Spec.Audiences,
			"user": map[string]any{
				"username": "system:serviceaccount:test:mesh-node",
				"extra":    map[string]any{"authentication.kubernetes.io/pod-name": []string{pod}},
			},
		}
		w.WriteHeader(http.StatusCreated)
		if err := json.NewEncoder(w).Encode(review); err != nil {
			a.c.t.Error(err)
		}
	default:
		w.WriteHeader(http.StatusForbidden)
	}
}

// serverCertificate makes a TLS server certificate for an address and the one
// that signed it.
func serverCertificate(ip string) (*tls.Config, error) {
	a, err := identity.NewAuthority()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := a.IssueTLS(key.Public(), nil, []net.IP{net.ParseIP(ip)}, now.Add(-time.Hour), now.Add(time.Hour))
	if err != nil {
		return nil, err
	}
	root, _ := pem.Decode([]byte(a.TrustFiles()[identity.TrustAPICAFile]))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der, root.Bytes}, PrivateKey: key}}}, nil
}
