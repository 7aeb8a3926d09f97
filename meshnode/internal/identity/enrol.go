package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"
)

// Enroller gets certificates for a node from the CA and renews them.
type Enroller struct {
	URL       string // of the CA, e.g. "https://mesh-ca:8443"
	TokenFile string // the pod's projected token, read again for every attempt
	TrustDir  string // the mounted trust bundle, read again for every attempt
	Name      string
	Zone      string
	Logger    *slog.Logger // nil: none
	// Clock is the machine's clock; nil: time.Now. It may be wrong by MaxClockError.
	Clock func() time.Time

	offset time.Duration // of the CA's clock from this one, as its last answer said
}

// The pace of attempts. They go on until the caller's deadline.
const (
	enrolTimeout   = 10 * time.Second // one attempt
	enrolRetryMin  = 250 * time.Millisecond
	enrolRetryMax  = 15 * time.Second
	renewRetry     = 30 * time.Second
	trustPoll      = 5 * time.Second // between looks at the trust bundle on disk
	maxEnrolAnswer = 64 << 10
)

// ErrRefused marks an answer of the CA that repeating the same request will not
// change while the pod and the CA stay as they are.
var ErrRefused = errors.New("the CA refused")

// Enrol makes a key and gets certificates for it, trying with exponential
// backoff and jitter until ctx ends. A refusal is tried again as well: the
// token or the trust bundle on disk may be replaced meanwhile.
func (e *Enroller) Enrol(ctx context.Context) (*Node, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("enrolment needs a deadline")
	}
	wait := enrolRetryMin
	for {
		c, t, err := e.attempt(ctx)
		if err == nil {
			return NewNode(c, t), nil
		}
		e.logger().Warn("enrolment failed, will retry", "name", e.Name, "ca", e.URL, "error", err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("enrolment of %s at %s: %w (last attempt: %w)", e.Name, e.URL, ctx.Err(), err)
		case <-time.After(wait/2 + mathrand.N(wait)):
		}
		wait = min(2*wait, enrolRetryMax)
	}
}

// KeepRenewed renews n after two thirds of its certificate's life, or when the
// trust bundle on disk has got another root, and again until ctx ends. The
// authority keeps its key in memory, and a new pod of it means a new root: nodes
// that kept the old one could not talk to those that start after. The node goes on
// with what it has while the CA does not answer, and sessions that exist go on.
func (e *Enroller) KeepRenewed(ctx context.Context, n *Node) {
	next := n.Credential().renewAt().Sub(n.Now())
	for {
		pause := min(next, trustPoll)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if next -= pause; !e.follow(n) && next > 0 {
			continue
		}
		c, t, err := e.attempt(ctx)
		if err != nil {
			e.logger().Error("renewal failed, will retry", "name", e.Name, "error", err,
				"valid until", n.Credential().Certificate.NotAfter)
			left := n.Credential().Certificate.NotAfter.Sub(n.Now())
			next = min(renewRetry, max(left/4, enrolRetryMin))
			continue
		}
		n.Update(c, t)
		e.logger().Info("certificate renewed", "name", e.Name, "valid until", c.Certificate.NotAfter)
		next = c.renewAt().Sub(n.Now())
	}
}

// follow has n adopt the trust bundle on disk, if that is whole. Another root is not
// adopted without a certificate under it: then follow reports true.
func (e *Enroller) follow(n *Node) bool {
	t, err := LoadTrust(e.TrustDir)
	if err != nil {
		e.logger().Warn("trust bundle not read, will retry", "error", err)
		return false
	}
	if !t.Root.Equal(n.Trust().Root) {
		e.logger().Info("the mesh has a new root, enrolling under it", "name", e.Name)
		return true
	}
	n.Adopt(t)
	return false
}

func (e *Enroller) logger() *slog.Logger {
	if e.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return e.Logger
}

// attempt enrols once with a fresh key.
func (e *Enroller) attempt(ctx context.Context) (*Credential, *Trust, error) {
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	trust, err := LoadTrust(e.TrustDir)
	if err != nil {
		return nil, nil, err
	}
	token, err := os.ReadFile(e.TokenFile)
	if err != nil {
		return nil, nil, fmt.Errorf("service-account token: %w", err)
	}
	key := GenerateKey()
	tlsKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("TLS key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, tlsKey)
	if err != nil {
		return nil, nil, fmt.Errorf("TLS certificate request: %w", err)
	}
	r := newEnrolRequest(strings.TrimSpace(string(token)), e.Name, e.Zone, key, csr, e.now())
	answer, err := e.post(ctx, trust, r)
	if err != nil {
		return nil, nil, err
	}
	return e.check(answer, trust, key, tlsKey)
}

// post sends the request over TLS 1.3 to a CA that the trust bundle vouches for.
func (e *Enroller) post(ctx context.Context, trust *Trust, r *EnrolRequest) (*EnrolResponse, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(e.URL, "/")+"/v1/enrol", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	t := &http.Transport{TLSClientConfig: e.tlsConfig(trust)}
	defer t.CloseIdleConnections()
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return nil, err
	}
	e.learnTime(resp)
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxEnrolAnswer))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		var problem struct {
			Detail string `json:"detail"`
		}
		if json.Unmarshal(b, &problem) != nil {
			problem.Detail = "no reason given"
		}
		if resp.StatusCode < http.StatusInternalServerError {
			return nil, fmt.Errorf("%w: %d %s", ErrRefused, resp.StatusCode, problem.Detail)
		}
		return nil, fmt.Errorf("the CA answered %d %s", resp.StatusCode, problem.Detail)
	}
	answer := new(EnrolResponse)
	if err := json.Unmarshal(b, answer); err != nil {
		return nil, fmt.Errorf("the CA's answer: %w", err)
	}
	return answer, nil
}

// check verifies that the certificates are for our keys and name and under the
// bundle's roots, before the node shows them to anybody.
func (e *Enroller) check(a *EnrolResponse, trust *Trust, key *PrivateKey, tlsKey *ecdsa.PrivateKey) (*Credential, *Trust, error) {
	cert, err := ParseCertificate(a.Certificate)
	if err != nil {
		return nil, nil, fmt.Errorf("the CA's answer: %w", err)
	}
	if err := cert.Verify(trust.Root, e.now()); err != nil {
		return nil, nil, fmt.Errorf("the CA's answer: %w", err)
	}
	if cert.Name != e.Name || !cert.PublicKey.Equal(key.Public()) {
		return nil, nil, fmt.Errorf("the CA's answer: a certificate for %s with another key or name than asked for", cert.Name)
	}
	leaf, err := x509.ParseCertificate(a.TLSCertificate)
	if err != nil {
		return nil, nil, fmt.Errorf("the CA's answer: TLS certificate: %w", err)
	}
	if pub, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(tlsKey.Public()) {
		return nil, nil, errors.New("the CA's answer: TLS certificate for another key")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: trust.APICA, DNSName: e.Name, CurrentTime: e.now()}); err != nil {
		return nil, nil, fmt.Errorf("the CA's answer: TLS certificate: %w", err)
	}
	pair := &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: tlsKey, Leaf: leaf}
	return &Credential{Key: key, Certificate: cert, TLS: pair}, trust, nil
}
