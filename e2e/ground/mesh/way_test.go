package mesh

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	crfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// asked is a mesh of one node, which answers on this machine.
type asked struct {
	*Mesh
	server  *httptest.Server
	kube    *fake.Clientset
	dials   atomic.Int32
	mu      sync.Mutex
	hangUps []func() // of the ways that were opened
	closed  []<-chan struct{}
}

// named is the node's name: httptest's certificate is for it.
const named = "example.com"

func newAsked(t *testing.T, answer http.HandlerFunc) *asked {
	t.Helper()
	a := &asked{server: httptest.NewTLSServer(answer)}
	t.Cleanup(a.server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.server.Certificate().Raw})
	a.kube = fake.NewClientset(
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "s1", Name: named, UID: "first"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "s1", Name: tokenSecret}, Data: map[string][]byte{tokenKey: []byte("abc")}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "s1", Name: trustMap}, Data: map[string]string{trustAPICA: string(ca)}},
	)
	a.Mesh = New(nil, a.kube, crfake.NewClientBuilder().Build(), "s1")
	a.dial = a.relay
	return a
}

// relay stands in for a forward: what it opens is cut when it is hung up.
func (a *asked) relay(ctx context.Context, _ string, _ int) (string, context.CancelFunc, <-chan struct{}, error) {
	a.dials.Add(1)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, nil, err
	}
	life, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	closed := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { couple(life, near, a.server.Listener.Addr().String()) })
		}
	})
	go func() {
		<-life.Done()
		_ = l.Close()
		all.Wait()
		close(closed)
	}()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hangUps = append(a.hangUps, func() { hangUp(); <-closed })
	a.closed = append(a.closed, closed)
	return l.Addr().String(), hangUp, closed, nil
}

// couple connects a connection to a server until life ends.
func couple(life context.Context, near net.Conn, server string) {
	far, err := (&net.Dialer{}).DialContext(life, "tcp", server)
	if err != nil {
		_ = near.Close()
		return
	}
	pipe(life, near, far)
}

// kept is how many ways are kept.
func (a *asked) kept() int {
	a.ways.mu.Lock()
	defer a.ways.mu.Unlock()
	return len(a.ways.open)
}

// replace gives the node's name to another pod.
func (a *asked) replace(t *testing.T, uid types.UID) {
	t.Helper()
	pods := a.kube.CoreV1().Pods("s1")
	p, err := pods.Get(t.Context(), named, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.UID = uid
	if _, err := pods.Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestWaysAreKept: further questions to a pod go over its first way. A way that was lost is
// opened again, also where a question is the first to see it, and the successor of a pod is never asked
// over the way of the first.
func TestWaysAreKept(t *testing.T) {
	refuse := atomic.Bool{}
	a := newAsked(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer abc":
			w.WriteHeader(http.StatusUnauthorized)
		case refuse.Load():
			w.Header().Set("Content-Type", api.ProblemType)
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"status":503,"title":"no"}`))
		default:
			_, _ = w.Write([]byte(`{}`))
		}
	})
	question := func(dials int32) {
		t.Helper()
		if _, err := a.Status(t.Context(), named); err != nil {
			t.Fatal(err)
		}
		if got := a.dials.Load(); got != dials {
			t.Fatalf("%d ways were opened, want %d", got, dials)
		}
	}
	question(1)
	question(1)

	refuse.Store(true)
	if _, err := a.Status(t.Context(), named); !answered(err) {
		t.Fatalf("a node that refuses: %v", err)
	}
	refuse.Store(false)
	question(1)

	get, err := a.open(t.Context(), named)
	if err != nil {
		t.Fatal(err)
	}
	a.hangUps[0]()
	if _, err := get(api.StatusPath); err != nil {
		t.Fatalf("over a way that was lost: %v", err)
	}
	question(2)

	a.replace(t, "second")
	question(3)
	question(3)

	if err := a.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, closed := range a.closed {
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Error("a way is open after its mesh was deleted")
		}
	}
	if left := a.kept(); left != 0 {
		t.Errorf("%d ways are left of a mesh that was deleted", left)
	}
}

// TestAWayOfManyIsOne: those who ask a pod at the same moment end with one way.
func TestAWayOfManyIsOne(t *testing.T) {
	a := newAsked(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := a.Status(t.Context(), named); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if left := a.kept(); left != 1 {
		t.Errorf("%d ways are left, want 1", left)
	}
}

// TestAWayThatStaysLost: the second try is the last one.
func TestAWayThatStaysLost(t *testing.T) {
	a := newAsked(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) })
	if _, err := a.Status(t.Context(), named); err != nil {
		t.Fatal(err)
	}
	a.server.Close()
	if _, err := a.Status(t.Context(), named); err == nil {
		t.Error("a node that is gone has answered")
	}
	if n := a.dials.Load(); n != 2 {
		t.Errorf("%d ways were opened, want 2", n)
	}
}

// TestWhoGivesUpClosesNoWay: a question whose asker has gone says nothing of the way, which others
// use; one that takes too long does.
func TestWhoGivesUpClosesNoWay(t *testing.T) {
	hang := make(chan struct{})
	a := newAsked(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		_, _ = w.Write([]byte(`{}`))
	})
	ask := func(ctx context.Context) {
		if _, err := a.Status(ctx, named); err == nil {
			t.Error("a node that hangs has answered")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	ask(ctx)
	if n := a.kept(); n != 1 {
		t.Errorf("%d ways after somebody gave up, want 1", n)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	ask(ctx)
	if n := a.kept(); n != 0 {
		t.Errorf("%d ways after one that hangs, want 0", n)
	}
	close(hang)
}

// TestAPodThatIsReplacedMeanwhile: the way that was opened leads to another pod than was asked for.
func TestAPodThatIsReplacedMeanwhile(t *testing.T) {
	a := newAsked(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) })
	relay := a.dial
	a.dial = func(ctx context.Context, pod string, port int) (string, context.CancelFunc, <-chan struct{}, error) {
		a.replace(t, "second")
		return relay(ctx, pod, port)
	}
	if _, err := a.Status(t.Context(), named); err == nil || !strings.Contains(err.Error(), "another pod") {
		t.Errorf("answered by its successor: %v", err)
	}
	if n := a.kept(); n != 0 {
		t.Errorf("%d ways are left", n)
	}
}

// pipe copies between two connections until one of them or life ends.
func pipe(life context.Context, a, b net.Conn) {
	life, end := context.WithCancel(life)
	defer end()
	var both sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{a: b, b: a} {
		both.Go(func() {
			defer end()
			_, _ = io.Copy(to, from)
		})
	}
	<-life.Done()
	_ = a.Close()
	_ = b.Close()
	both.Wait()
}
