package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
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
	"sync"
	"time"
)

// Audience is what the service-account tokens of mesh nodes are made for.
const Audience = "x0tta6bl4-mesh"

// TrustConfigMap is the ConfigMap that carries the trust bundle.
const TrustConfigMap = "mesh-trust"

// TokenReviewer tells which pod a token is bound to; Kube is one. The error
// wraps ErrToken when the token proves nothing.
type TokenReviewer interface {
	ReviewToken(ctx context.Context, token, audience string) (Pod, error)
}

// CAConfig configures a CA. Authority, Reviewer and Namespace are required.
type CAConfig struct {
	Authority      *Authority
	Reviewer       TokenReviewer
	Namespace      string        // only pods of it are enrolled
	ServiceAccount string        // only pods that run as it are enrolled; empty: any
	Life           time.Duration // of certificates, default 24 h
	// The Services whose names the TLS certificates carry: the CA's own, the
	// headless one of the nodes, the shared one of the client API. Defaults:
	// mesh-ca, mesh-nodes, mesh-api.
	CAService, NodeService, APIService string
	Hosts                              []string // further names or addresses of the CA's own certificate
	Logger                             *slog.Logger
	Clock                              func() time.Time // the machine's clock, which is read once; nil: time.Now
}

const (
	defaultLife = 24 * time.Hour
	// enrolWindow is how far a request's time may lie from ours: clocks may
	// differ by ClockSkew, and a request may be a minute under way.
	enrolWindow = ClockSkew + time.Minute
	// maxSeen bounds the memory of requests that were granted; when it is
	// full, further ones are told to come back.
	maxSeen = 1 << 16
)

// CA issues certificates to pods that prove themselves.
type CA struct {
	cfg   CAConfig
	epoch epoch

	mu   sync.Mutex
	seen map[[32]byte]time.Time // hashes of granted proofs, and when to forget them
}

// NewCA returns a CA.
func NewCA(cfg CAConfig) (*CA, error) {
	if cfg.Authority == nil || cfg.Reviewer == nil || cfg.Namespace == "" {
		return nil, errors.New("CA: Authority, Reviewer and Namespace are required")
	}
	if cfg.Life <= 0 {
		cfg.Life = defaultLife
	}
	for _, d := range []struct {
		field *string
		value string
	}{{&cfg.CAService, "mesh-ca"}, {&cfg.NodeService, "mesh-nodes"}, {&cfg.APIService, "mesh-api"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &CA{cfg: cfg, epoch: epoch{cfg.Clock(), time.Now()}, seen: make(map[[32]byte]time.Time)}, nil
}

// now is the mesh's time. It is what the machine's clock showed at the start and what has passed
// since: of two certificates the one that was issued later says so, whatever becomes of the clock.
func (ca *CA) now() time.Time { return ca.epoch.now() }

// serviceNames returns the names under which a Service is reached.
func serviceNames(service, namespace string) []string {
	return []string{service, service + "." + namespace, service + "." + namespace + ".svc", service + "." + namespace + ".svc.cluster.local"}
}

// nodeNames returns the DNS names of a node's client API: its own behind the
// headless Service, and those of the shared Service.
func (ca *CA) nodeNames(node string) []string {
	names := append([]string{node}, serviceNames(node+"."+ca.cfg.NodeService, ca.cfg.Namespace)...)
	return append(names, serviceNames(ca.cfg.APIService, ca.cfg.Namespace)...)
}

// TLSConfig returns the TLS configuration of the CA's server, with a
// certificate of the API CA.
func (ca *CA) TLSConfig() (*tls.Config, error) {
	now, hosts := ca.now(), append(serviceNames(ca.cfg.CAService, ca.cfg.Namespace), ca.cfg.Hosts...)
	cert, err := ca.cfg.Authority.ServerCertificate(hosts, now.Add(-ClockSkew), now.Add(apiCALife))
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*cert}}, nil
}

// Publish writes the trust bundle into the CA's namespace. What root it replaces there
// becomes a former one.
func (ca *CA) Publish(ctx context.Context, k *Kube) error {
	files, err := ca.bundle(ctx, k)
	if err != nil {
		return err
	}
	return k.PutConfigMap(ctx, ca.cfg.Namespace, TrustConfigMap, files)
}

// apiTokenKey is the key of the Secret that holds the bearer token of the client API.
const apiTokenKey = "token"

// ProvideAPIToken sees that a Secret of the CA's namespace holds a bearer token of the client API:
// the one that it has, or 32 random bytes in hexadecimal. The Secret has to be there.
func (ca *CA) ProvideAPIToken(ctx context.Context, k *Kube, secret string) error {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return fmt.Errorf("API token: %w", err)
	}
	return k.FillSecret(ctx, ca.cfg.Namespace, secret, apiTokenKey, []byte(hex.EncodeToString(b)))
}

// Handler serves POST /v1/enrol.
func (ca *CA) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/enrol", ca.serveEnrol)
	return mux
}

// refusal is an error with the HTTP status that tells it.
type refusal struct {
	status int
	error
}

func (r *refusal) Unwrap() error { return r.error }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Errorf(format, args...)}
}

func (ca *CA) serveEnrol(w http.ResponseWriter, req *http.Request) {
	response, name, err := ca.enrolBody(req)
	if err != nil {
		status := http.StatusInternalServerError
		if r, ok := errors.AsType[*refusal](err); ok {
			status = r.status
		}
		ca.cfg.Logger.Warn("enrolment refused", "remote", req.RemoteAddr, "name", name, "status", status, "error", err)
		if status >= http.StatusInternalServerError {
			w.Header().Set("Retry-After", "1")
		}
		ca.answer(w, status, "application/problem+json", map[string]any{
			"title": http.StatusText(status), "status": status, "detail": err.Error(),
		})
		return
	}
	ca.cfg.Logger.Info("enrolled", "remote", req.RemoteAddr, "name", name)
	ca.answer(w, http.StatusOK, "application/json", response)
}

func (ca *CA) answer(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Date", ca.now().UTC().Format(http.TimeFormat)) // which nodes go by
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		ca.cfg.Logger.Debug("enrolment answer not sent", "error", err)
	}
}

func (ca *CA) enrolBody(req *http.Request) (*EnrolResponse, string, error) {
	body, err := io.ReadAll(io.LimitReader(req.Body, maxEnrolBody+1))
	if err != nil {
		return nil, "", refuse(http.StatusBadRequest, "%w: %w", errRequest, err)
	}
	if len(body) > maxEnrolBody {
		return nil, "", refuse(http.StatusRequestEntityTooLarge, "%w: more than %d bytes", errRequest, maxEnrolBody)
	}
	r, key, err := parseEnrolRequest(body)
	if err != nil {
		return nil, "", &refusal{http.StatusBadRequest, err}
	}
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		host = ""
	}
	response, err := ca.enrol(req.Context(), r, key, net.ParseIP(host), ca.now())
	return response, r.Name, err
}

// enrol grants or refuses a well-formed request. remote, which may be nil, is
// the address the pod connected from and goes into its TLS certificate.
func (ca *CA) enrol(ctx context.Context, r *EnrolRequest, key *PublicKey, remote net.IP, now time.Time) (*EnrolResponse, error) {
	if d := now.Sub(r.Time).Abs(); d > enrolWindow {
		return nil, refuse(http.StatusForbidden, "request made at %s, too far from now: check the clocks", r.Time.Format(time.RFC3339))
	}
	if !key.Verify(ContextEnrolment, r.signed(), r.Proof) {
		return nil, refuse(http.StatusForbidden, "the proof is not a signature of the public key over this request")
	}
	csr, err := x509.ParseCertificateRequest(r.CSR)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%w: csr: %w", errRequest, err)
	}
	if k, ok := csr.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		return nil, refuse(http.StatusBadRequest, "%w: csr: the key has to be ECDSA P-256", errRequest)
	}
	pod, err := ca.cfg.Reviewer.ReviewToken(ctx, r.Token, Audience)
	switch {
	case errors.Is(err, ErrToken):
		return nil, &refusal{http.StatusUnauthorized, err}
	case err != nil:
		return nil, &refusal{http.StatusServiceUnavailable, err}
	case pod.Namespace != ca.cfg.Namespace:
		return nil, refuse(http.StatusForbidden, "the token belongs to namespace %s, this CA to %s", pod.Namespace, ca.cfg.Namespace)
	case ca.cfg.ServiceAccount != "" && pod.ServiceAccount != ca.cfg.ServiceAccount:
		return nil, refuse(http.StatusForbidden, "service account %s may not enrol", pod.ServiceAccount)
	case pod.Name != r.Name:
		return nil, refuse(http.StatusForbidden, "the token belongs to pod %s, the request is for %s", pod.Name, r.Name)
	}
	if err := ca.remember(r, now); err != nil {
		return nil, err
	}
	notAfter := now.Add(ca.cfg.Life)
	cert, err := ca.cfg.Authority.Issue(r.Name, r.Zone, key, now, notAfter)
	if err != nil {
		return nil, err
	}
	// Nothing of the CSR but its key is used: names come from what was proven.
	var ips []net.IP
	if remote != nil {
		ips = []net.IP{remote}
	}
	der, err := ca.cfg.Authority.IssueTLS(csr.PublicKey, ca.nodeNames(r.Name), ips, now.Add(-ClockSkew), notAfter.Add(ClockSkew))
	if err != nil {
		return nil, err
	}
	return &EnrolResponse{Certificate: cert.Bytes(), TLSCertificate: der}, nil
}

// remember refuses a request that was granted before. A restarted CA has
// forgotten them; what a replay then yields is a certificate for a key that the
// replayer does not hold.
func (ca *CA) remember(r *EnrolRequest, now time.Time) error {
	// The nonce and the proof's message are what was signed; the randomised
	// signature itself could be made again by the key's holder only.
	id := sha256.Sum256(r.signed())
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if until, ok := ca.seen[id]; ok && now.Before(until) {
		return refuse(http.StatusConflict, "replayed request: every enrolment needs a fresh nonce")
	}
	if len(ca.seen) >= maxSeen {
		for k, until := range ca.seen {
			if !now.Before(until) {
				delete(ca.seen, k)
			}
		}
		if len(ca.seen) >= maxSeen {
			return refuse(http.StatusServiceUnavailable, "too many enrolments within %v: try again later", 2*enrolWindow)
		}
	}
	ca.seen[id] = now.Add(2 * enrolWindow)
	return nil
}
