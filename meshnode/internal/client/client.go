package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Config is what a client works with. Nodes or Service is required.
type Config struct {
	Nodes     []string // base URLs of nodes
	Service   string   // base URL of the Service that leads to any node
	Sessions  int      // to keep through the Service
	TokenFile string
	TrustDir  string
	Interval  time.Duration // between operations at one node, and on one session
	Size      int           // bytes of a record's body
	History   *History
	Logger    *slog.Logger
	// Dial makes connections; nil: the network's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Every node is to be home to some client sessions. So they are opened when each of
// Config.Nodes has answered, and one after the other, for nodes that have just
// started have yet to meet.
const (
	// openEvery is the time between the openings of two client sessions.
	openEvery = 200 * time.Millisecond
	// openWithin is how long that waits for nodes that do not answer.
	openWithin = 30 * time.Second
)

// Client writes and reads records and keeps sessions.
type Client struct {
	cfg  Config
	name string

	met chan struct{} // closed when every node has answered

	mu    sync.Mutex
	unmet int // nodes that have not answered yet
	count int
	acked []string // the newest acknowledged ids
}

// New returns a client; its records are named apart from those of any other.
func New(cfg Config) (*Client, error) {
	targets := cfg.Nodes
	if cfg.Service != "" {
		targets = append([]string{cfg.Service}, targets...)
	}
	for _, n := range targets {
		if u, err := url.Parse(n); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("node or service %q: want a URL such as https://mesh-node-a-0.mesh-nodes.NAMESPACE.svc:8443", n)
		}
	}
	switch {
	case len(targets) == 0:
		return nil, errors.New("no nodes and no service given")
	case cfg.Sessions > 0 && cfg.Service == "":
		return nil, errors.New("sessions are kept through a service, and none is given")
	}
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, name: hex.EncodeToString(b[:]), met: make(chan struct{}), unmet: len(cfg.Nodes)}
	if c.unmet == 0 {
		close(c.met)
	}
	return c, nil
}

// Run works at every node, through the Service and on every session at once
// until ctx ends.
func (c *Client) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, n := range c.cfg.Nodes {
		wg.Go(func() { c.work(ctx, &target{url: n, node: host(n)}) })
	}
	if c.cfg.Service != "" {
		service := host(c.cfg.Service)
		wg.Go(func() { c.work(ctx, &target{url: c.cfg.Service, service: service}) })
		for i := range c.cfg.Sessions {
			wg.Go(func() {
				if c.meet(ctx) && pause(ctx, time.Duration(i)*openEvery) {
					c.keep(ctx, &target{url: c.cfg.Service, service: service})
				}
			})
		}
	}
	wg.Wait()
}

// meet waits until every node has answered, or long enough, and reports whether ctx
// still runs.
func (c *Client) meet(ctx context.Context) bool {
	limit := time.NewTimer(openWithin)
	defer limit.Stop()
	select {
	case <-c.met:
	case <-limit.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// nodeAnswered notes that one more node has answered.
func (c *Client) nodeAnswered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unmet--; c.unmet == 0 {
		close(c.met)
	}
}

// every calls f each interval until ctx ends.
func (c *Client) every(ctx context.Context, f func(n int)) {
	ticker := time.NewTicker(c.cfg.Interval)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f(n)
		}
	}
}

// work alternates between writing and reading records at one target.
func (c *Client) work(ctx context.Context, at *target) {
	l := &caller{c: c, at: at}
	defer l.close()
	met := at.service != ""
	c.every(ctx, func(n int) {
		var result api.Result
		if id := c.pick(); n%2 == 1 && id != "" {
			result = l.do(ctx, c.read(id)).Result
		} else {
			id := c.next()
			if result = l.do(ctx, c.write(id)).Result; result == api.OK {
				c.acknowledged(id)
			}
		}
		if result == api.OK && !met {
			met = true
			c.nodeAnswered()
		}
	})
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

// known is how many acknowledged ids are remembered for reading back.
const known = 1024

func (c *Client) acknowledged(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.acked) < known {
		c.acked = append(c.acked, id)
		return
	}
	c.acked[mrand.IntN(known)] = id
}
