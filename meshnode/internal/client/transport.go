package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// dialTimeout bounds the making of a TCP connection: to a node that is gone, as long
// as its address has not, nothing answers.
const dialTimeout = 400 * time.Millisecond

// transport is one connection. Trust and token are read again when it is made
// anew: both can change.
type transport struct {
	c     *Client
	http  *http.Client
	token string
}

func (t *transport) open() error {
	if t.http != nil {
		return nil
	}
	trust, err := identity.LoadTrust(t.c.cfg.TrustDir)
	if err != nil {
		return err
	}
	token, err := os.ReadFile(t.c.cfg.TokenFile)
	if err != nil {
		return fmt.Errorf("API token: %w", err)
	}
	t.token = strings.TrimSpace(string(token))
	dial := t.c.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	t.http = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trust.APICA, MinVersion: tls.VersionTLS13}, DialContext: dial,
	}}
	return nil
}

func (t *transport) close() {
	if t.http != nil {
		t.http.CloseIdleConnections()
		t.http = nil
	}
}

// errNotSent marks an attempt of which nothing left this process.
var errNotSent = errors.New("not sent")

// attempt tries an operation once and notes in it who answered, and what.
func (t *transport) attempt(ctx context.Context, at *target, r *request) (err error) {
	op := &r.op
	op.Status = 0
	if err := t.open(); err != nil {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, strings.TrimSuffix(at.url, "/")+r.path, bytes.NewReader(r.body))
	if err != nil {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	req.Header.Set("Authorization", "Bearer "+t.token)
	if r.match > 0 {
		req.Header.Set("If-Match", strconv.Quote(strconv.FormatUint(r.match, 10)))
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	op.Status = resp.StatusCode
	if at.service != "" {
		op.Node = answerer(resp, at.service)
	}
	switch {
	case resp.StatusCode == http.StatusNotFound && r.missing:
		return nil
	case resp.StatusCode >= 400:
		return api.ReadProblem(resp)
	}
	got, err := io.ReadAll(io.LimitReader(resp.Body, api.MaxBody+1))
	if err == nil && r.check != nil {
		err = r.check(op, got)
	}
	return err
}

// answerer is the node behind a Service that answered: the first name of its
// certificate is its own.
func answerer(resp *http.Response, service string) string {
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		if names := resp.TLS.PeerCertificates[0].DNSNames; len(names) > 0 {
			return names[0]
		}
	}
	return service
}
