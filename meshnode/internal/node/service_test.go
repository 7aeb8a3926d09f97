package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/e2e/observe/verify"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/client"
	"github.com/x0tta6bl4/mesh/meshnode/internal/server"
)

// service is what a Kubernetes Service is to clients: connections lead to any
// node that was ready a moment ago. The nodes serve their API over TLS on
// connections in memory.
type service struct {
	m *testMesh

	mu        sync.Mutex
	rng       *rand.Rand
	fronts    map[string]*front
	endpoints []*front
}

// front is the server of one node.
type front struct {
	node   *testNode
	accept chan net.Conn
	dead   atomic.Bool // its machine is gone: nothing leaves it any more
	closed chan struct{}
	stop   context.CancelFunc
	ended  chan struct{}
}

// spread is how long it takes until the Service follows readiness.
const spread = time.Second

func newService(m *testMesh) *service {
	s := &service{m: m, rng: rand.New(rand.NewPCG(7, 7)), fronts: map[string]*front{}}
	for _, name := range zoneNames {
		s.open(name)
	}
	return s
}

// open starts the server of a running node and lets the Service lead to it.
func (s *service) open(name string) {
	s.m.t.Helper()
	n := s.m.nodes[name]
	tls, err := s.m.auth.ServerCertificate([]string{name, "mesh-api"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		s.m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &front{node: n, accept: make(chan net.Conn), closed: make(chan struct{}), stop: cancel, ended: make(chan struct{})}
	cfg := n.cfg.Identity.TLSConfig()
	cfg.GetCertificate, cfg.Certificates = nil, append(cfg.Certificates, *tls)
	handler := server.API(n, func() (string, error) { return "secret", nil }, slog.New(slog.DiscardHandler))
	go func() {
		defer close(f.ended)
		if err := server.Serve(ctx, f, handler, cfg, slog.New(slog.DiscardHandler)); err != nil {
			s.m.t.Errorf("%s: %v", name, err)
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fronts[name] = f
	s.endpoints = append(s.endpoints, f)
}

// unlink lets the Service forget a node after a while.
func (s *service) unlink(name string) {
	f := s.fronts[name]
	time.AfterFunc(spread, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.endpoints = slices.DeleteFunc(s.endpoints, func(o *front) bool { return o == f })
	})
}

func (f *front) Accept() (net.Conn, error) {
	select {
	case c := <-f.accept:
		return &wire{c, &f.dead}, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *front) Close() error   { close(f.closed); return nil }
func (f *front) Addr() net.Addr { return &net.TCPAddr{} }

// wire is a node's end of a connection. What a dead node does reaches nobody.
type wire struct {
	net.Conn
	dead *atomic.Bool
}

func (w *wire) Write(b []byte) (int, error) {
	if w.dead.Load() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

func (w *wire) Close() error {
	if w.dead.Load() {
		// A network takes what is sent to a dead node, and a pipe would block.
		go func() { _, _ = io.Copy(io.Discard, w.Conn) }()
		return nil
	}
	return w.Conn.Close()
}

// dial connects as a packet finds its way: to any endpoint, and to a dead one
// without an answer.
func (s *service) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	if len(s.endpoints) == 0 {
		s.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Err: errors.New("no endpoint")}
	}
	f := s.endpoints[s.rng.IntN(len(s.endpoints))]
	s.mu.Unlock()
	ours, theirs := net.Pipe()
	var refused <-chan struct{} = f.closed
	if f.dead.Load() {
		refused = nil
	}
	ctx, cancel := context.WithTimeout(ctx, 400*time.Millisecond) // as the client's own dialer
	defer cancel()
	select {
	case f.accept <- theirs:
		return ours, nil
	case <-refused:
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
	}
}

// crash ends a node as a machine that loses its power.
func (s *service) crash(name string) {
	f := s.fronts[name]
	f.dead.Store(true)
	s.m.stop(name, true)
	f.stop()
	s.unlink(name)
	delete(s.fronts, name)
}

// busiest is the node that is home to the most client sessions.
func (s *service) busiest() string {
	homes := s.m.nodes[zoneNames[0]].Status().Sessions
	return slices.MaxFunc(zoneNames, func(a, b string) int { return cmp.Compare(homes[a], homes[b]) })
}

// leave ends a node as meshnode run does when it is told to.
func (s *service) leave(name string) {
	s.m.t.Helper()
	f := s.fronts[name]
	f.node.Leave()
	s.unlink(name)
	time.Sleep(3 * time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := f.node.Drain(ctx); err != nil {
		s.m.t.Errorf("%s: %v", name, err)
	}
	f.stop()
	<-f.ended
	s.m.stop(name, false)
	delete(s.fronts, name)
}

// close ends every server.
func (s *service) close() {
	for _, f := range s.fronts {
		f.stop()
		<-f.ended
	}
}

// record runs a recording client that keeps sessions through the Service while f
// runs, and returns its history.
func (s *service) record(sessions int, f func()) []api.Operation {
	t := s.m.t
	t.Helper()
	dir := t.TempDir()
	files := s.m.auth.TrustFiles()
	files["token"] = "secret"
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	history, err := client.OpenHistory(filepath.Join(dir, "history"), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{
		Service: "https://mesh-api:8443", Sessions: sessions, TokenFile: filepath.Join(dir, "token"), TrustDir: dir,
		Interval: 250 * time.Millisecond, Size: 100, History: history, Logger: slog.New(slog.DiscardHandler), Dial: s.dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	time.Sleep(3 * time.Second)
	f()
	time.Sleep(3 * time.Second)
	cancel()
	<-done
	w := httptest.NewRecorder()
	history.ServeHTTP(w, httptest.NewRequest("GET", "/history", nil))
	ops, err := api.ReadHistory(bytes.NewReader(w.Body.Bytes()))
	if err := errors.Join(err, history.Close()); err != nil {
		t.Fatal(err)
	}
	return ops
}

// judge checks what must hold in every history.
func (s *service) judge(ops []api.Operation) verify.Service {
	t := s.m.t
	t.Helper()
	if d := verify.Regressed(ops); len(d) > 0 {
		t.Errorf("sessions that went back: %v", d)
	}
	listed := map[string][]string{}
	for name, n := range s.m.nodes {
		records, err := n.store.List("", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			listed[name] = append(listed[name], r.ID)
		}
	}
	if err := verify.Set(ops, verify.Last(ops), listed, nil).Err(); err != nil {
		t.Error(err)
	}
	return verify.ThroughService(ops, time.Time{}, time.Now())
}

// TestRollingRestart restarts the nodes one after the other while a client works
// through the Service: it does not notice, retries aside.
func TestRollingRestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		s := newService(m)
		defer s.close()
		ops := s.record(10, func() {
			for _, name := range zoneNames {
				s.leave(name)
				time.Sleep(2 * time.Second)
				m.start(name)
				s.open(name)
				m.within(5*time.Second, "whole", m.whole)
				time.Sleep(time.Second)
			}
		})
		got := s.judge(ops)
		if err := got.Err(); err != nil {
			t.Error(err)
		}
		for name, n := range m.nodes {
			if len(n.incidents()) > 0 {
				t.Errorf("%s: a restart that was announced raised %v", name, n.incidents())
			}
		}
		if got.Operations < 1000 {
			t.Errorf("only %d operations", got.Operations)
		}
		t.Logf("%d operations, %d attempts failed, at most %d for one, slowest %v", got.Operations, got.FailedAttempts, got.Most, got.Slowest)
	})
}

// TestCrashBehindTheService: a node dies, and every session of its answers
// elsewhere in time; clients do not notice within their retry budget. Without
// healing they do.
func TestCrashBehindTheService(t *testing.T) {
	for name, heal := range map[string]bool{"healing": true, "control": false} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m := newTestMesh(t, heal)
				m.up()
				defer m.down()
				s := newService(m)
				defer s.close()
				var dead string
				var died time.Time
				ops := s.record(20, func() {
					dead, died = s.busiest(), time.Now()
					s.crash(dead)
					time.Sleep(5 * time.Second)
				})
				took := verify.Sessions(ops, dead, died)
				got := s.judge(ops)
				t.Logf("%d sessions of the dead node, slowest %v; %d operations, %d attempts failed, at most %d for one, slowest %v",
					took.Homed(), took.Slowest(), got.Operations, got.FailedAttempts, got.Most, got.Slowest)
				if took.Homed() == 0 || got.Operations < 300 {
					t.Errorf("too little for a verdict: %d sessions, %d operations", took.Homed(), got.Operations)
				}
				err := errors.Join(took.Err(barMigrate), got.Err())
				if heal && err != nil {
					t.Error(err)
				}
				if !heal && (took.Err(barMigrate) == nil || got.Err() == nil) {
					t.Errorf("the control passes, so the criterion is empty: %v", err)
				}
			})
		})
	}
}
