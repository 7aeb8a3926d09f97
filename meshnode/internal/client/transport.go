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

// Times of an operation.
const (
	// AttemptTimeout bounds one attempt, so that a connection to a node that is
	// gone is left in less than a second.
	AttemptTimeout = 800 * time.Millisecond
	// retryWait is the first pause between attempts; it doubles up to retryMax.
	// The Retry-After of an answer, in whole seconds, is too coarse for the budget.
	retryWait = 50 * time.Millisecond
	retryMax  = 200 * time.Millisecond
	// dialTimeout bounds the making of a connection, TLS included.
	dialTimeout = 400 * time.Millisecond
)

// target is where operations go.
type target struct {
	url     string
	node    string // the node that it is, or
	service string // the Service that leads to one
}

// do runs one operation with retries, records it and returns it.
func (c *Client) do(ctx context.Context, t *transport, at *target, r request) api.Operation {
	op := &r.op
	op.Service, op.Node, op.Invoked = at.service, at.node, time.Now()
	if op.Node == "" {
		op.Node = at.service
	}
	limit, cancel := context.WithTimeout(ctx, api.RetryBudget)
	defer cancel()
	wait := retryWait
	for {
		op.Attempts++
		err := t.attempt(limit, at, &r)
		if err == nil {
			op.Result = api.OK
			break
		}
		op.Errors = append(op.Errors, err.Error())
		op.Result = outcome(op, r.method, err)
		if permanent(op.Status) || !pause(limit, wait) {
			break
		}
		t.close() // the next attempt is on a new connection, and may reach another node
		wait = min(2*wait, retryMax)
	}
	op.Returned = time.Now()
	if ctx.Err() != nil && op.Result != api.OK {
		return *op // the client was stopped, the operation did not fail
	}
	if err := c.cfg.History.Append(*op); err != nil {
		c.cfg.Logger.Error("history not written", "error", err)
	}
	return *op
}

// outcome judges a failed attempt: a write failed for sure only if it was not
// sent, or refused as wrong. An earlier unknown stays unknown.
func outcome(op *api.Operation, method string, err error) api.Result {
	if op.Result == api.Unknown {
		return api.Unknown
	}
	if method == http.MethodGet || errors.Is(err, errNotSent) || permanent(op.Status) || op.Status == http.StatusUnauthorized {
		return api.Failed
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return api.Failed
	}
	return api.Unknown
}

// permanent reports whether repeating cannot help.
func permanent(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusUnauthorized
}

// pause waits for d and reports whether ctx still runs.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// transport is one connection. Trust and token are read again when it is made
// anew: both can change.
type transport struct {
	c      *Client
	http   *http.Client
	token  string
	unsure bool // the last update had no answer
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
		TLSClientConfig: &tls.Config{RootCAs: trust.APICA, MinVersion: tls.VersionTLS13}, DialContext: dial, TLSHandshakeTimeout: dialTimeout,
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
	ctx, cancel := context.WithTimeout(ctx, AttemptTimeout)
	defer cancel()
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
