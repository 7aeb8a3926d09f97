// Package client is the recording client: it writes records to every node and
// reads them back, and keeps a history of what it asked and what it was told.
//
// Every operation has a retry budget of Budget (2 s): an attempt that failed is
// repeated at the same node until the budget is spent. Only then has the
// operation failed. Each attempt is counted, and its error kept, beside the
// operation's outcome.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// Tuning.
const (
	// Budget is the time in which an operation may be repeated.
	Budget = 2 * time.Second
	// retryWait is the first pause between attempts; it doubles.
	retryWait = 50 * time.Millisecond
	// dialTimeout bounds the making of a connection.
	dialTimeout = time.Second
	// known is how many acknowledged ids are remembered for reading back.
	known = 1024
)

// Config is what a client works with.
type Config struct {
	Nodes     []string // base URLs
	TokenFile string
	TrustDir  string
	Interval  time.Duration // between operations at one node
	Size      int           // bytes of a record's body
	History   *History
	Logger    *slog.Logger
}

// Client writes and reads records.
type Client struct {
	cfg  Config
	name string

	mu    sync.Mutex
	count int
	acked []string // the newest acknowledged ids
}

// New returns a client; its records are named apart from those of any other.
func New(cfg Config) (*Client, error) {
	for _, n := range cfg.Nodes {
		if u, err := url.Parse(n); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("node %q: want a URL such as https://mesh-node-a-0.mesh-nodes.NAMESPACE.svc:8443", n)
		}
	}
	if len(cfg.Nodes) == 0 {
		return nil, errors.New("no nodes given")
	}
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, name: hex.EncodeToString(b[:])}, nil
}

// Run works at every node at once until ctx ends.
func (c *Client) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, n := range c.cfg.Nodes {
		wg.Go(func() { c.work(ctx, n) })
	}
	wg.Wait()
}

// work alternates between writing and reading at one node.
func (c *Client) work(ctx context.Context, node string) {
	t := &transport{c: c}
	defer t.close()
	ticker := time.NewTicker(c.cfg.Interval)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if id := c.pick(); n%2 == 1 && id != "" {
			c.do(ctx, t, Operation{Op: Read, ID: id, Node: host(node)}, node)
		} else {
			c.do(ctx, t, Operation{Op: Write, ID: c.next(), Node: host(node)}, node)
		}
	}
}

func host(node string) string {
	u, err := url.Parse(node)
	if err != nil {
		return node
	}
	name, _, _ := strings.Cut(u.Hostname(), ".")
	return name
}

func (c *Client) next() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	return fmt.Sprintf("%s-%08d", c.name, c.count)
}

func (c *Client) pick() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.acked) == 0 {
		return ""
	}
	return c.acked[mrand.IntN(len(c.acked))]
}

func (c *Client) acknowledged(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.acked) < known {
		c.acked = append(c.acked, id)
		return
	}
	c.acked[mrand.IntN(known)] = id
}

// Body is the content of the record with an id: size bytes that follow from the
// id, so that a reader can tell whether it got the right ones.
func Body(id string, size int) []byte {
	sum := sha256.Sum256([]byte(id))
	line := append([]byte(id+" "), hex.EncodeToString(sum[:])...)
	return bytes.Repeat(append(line, '\n'), size/(len(line)+1)+1)[:size]
}

// do runs one operation with retries and records it.
func (c *Client) do(ctx context.Context, t *transport, op Operation, node string) {
	op.Invoked = time.Now()
	limit, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	wait := retryWait
	for {
		op.Attempts++
		status, err := t.attempt(limit, op, node)
		op.Status = status
		if err == nil || op.Op == Read && status == http.StatusNotFound {
			op.Result, op.Found = OK, op.Op == Read && err == nil
			break
		}
		op.Errors = append(op.Errors, err.Error())
		op.Result = op.outcome(status, err)
		if permanent(status) || !pause(limit, wait) {
			break
		}
		wait *= 2
	}
	op.Returned = time.Now()
	if ctx.Err() != nil && op.Result != OK {
		return // the client was stopped, the operation did not fail
	}
	if op.Op == Write && op.Result == OK {
		c.acknowledged(op.ID)
	}
	if err := c.cfg.History.Append(op); err != nil {
		c.cfg.Logger.Error("history not written", "error", err)
	}
}

// permanent reports whether repeating cannot help.
func permanent(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusUnauthorized
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// transport is the connection to one node. Trust and token are read again when
// a connection is made anew or refused: both can change.
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
	t.http = &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: trust.APICA, MinVersion: tls.VersionTLS13},
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
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

// attempt tries an operation once. Status is 0 if there was no answer.
func (t *transport) attempt(ctx context.Context, op Operation, node string) (status int, err error) {
	if err := t.open(); err != nil {
		return 0, fmt.Errorf("%w: %w", errNotSent, err)
	}
	method, body := http.MethodGet, []byte(nil)
	if op.Op == Write {
		method, body = http.MethodPut, Body(op.ID, t.c.cfg.Size)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(node, "/")+api.RecordsPath+"/"+url.PathEscape(op.ID), bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNotSent, err)
	}
	req.Header.Set("Authorization", "Bearer "+t.token)
	resp, err := t.http.Do(req)
	if err != nil {
		t.close()
		return 0, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode >= 400 {
		if resp.StatusCode == http.StatusUnauthorized {
			t.close()
		}
		return resp.StatusCode, api.ReadProblem(resp)
	}
	got, err := io.ReadAll(io.LimitReader(resp.Body, api.MaxBody+1))
	if err != nil {
		return resp.StatusCode, err
	}
	if op.Op == Read && !bytes.Equal(got, Body(op.ID, t.c.cfg.Size)) {
		return resp.StatusCode, fmt.Errorf("wrong content: %d bytes", len(got))
	}
	return resp.StatusCode, nil
}
