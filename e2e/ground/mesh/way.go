package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// ways keeps one way to each pod that was asked: to open one costs the cluster more than a
// hundred questions over it.
type ways struct {
	mu   sync.Mutex
	open map[types.UID]*way
}

// dialer opens a way to a port of a pod: see forward.
type dialer = func(ctx context.Context, pod string, port int) (addr string, hangUp context.CancelFunc, closed <-chan struct{}, err error)

// way is an open way to a node's API. Several may ask over it at a time.
type way struct {
	client *http.Client
	base   string // what comes before a path
	close  context.CancelFunc
	closed <-chan struct{}
}

// get asks over the way.
func (w *way) get(ctx context.Context, path, token string) ([]byte, error) {
	return fetch(ctx, w.client, w.base+path, token)
}

// find returns the way to a pod, if there is one.
func (w *ways) find(pod types.UID) *way {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open[pod]
}

// add keeps a way until it is closed. Where another one came first, that one is kept.
func (w *ways) add(pod types.UID, n *way) *way {
	w.mu.Lock()
	defer w.mu.Unlock()
	if first := w.open[pod]; first != nil {
		n.close()
		return first
	}
	if w.open == nil {
		w.open = map[types.UID]*way{}
	}
	w.open[pod] = n
	go func() {
		<-n.closed
		w.drop(pod, n)
	}()
	return n
}

// drop closes a way and forgets it.
func (w *ways) drop(pod types.UID, old *way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open[pod] == old {
		delete(w.open, pod)
	}
	old.close()
}

// closeAll closes all ways.
func (w *ways) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.open {
		n.close()
	}
	clear(w.open)
}

// open returns what asks a node's API, for as long as ctx lasts. A pod that has taken the
// name of another one is asked over a way of its own.
func (m *Mesh) open(ctx context.Context, node string) (getter, error) {
	pod, err := m.kube.CoreV1().Pods(m.Namespace).Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("way to %s: %w", node, err)
	}
	token, err := m.apiToken(ctx)
	if err != nil {
		return nil, err
	}
	w := m.ways.find(pod.UID)
	kept := w != nil
	if !kept {
		if w, err = m.connect(ctx, node, pod.UID); err != nil {
			return nil, err
		}
	}
	return func(path string) ([]byte, error) {
		b, err := w.get(ctx, path, token)
		if err == nil || answered(err) {
			return b, err
		}
		if errors.Is(context.Cause(ctx), context.Canceled) {
			return nil, err // nobody waits for the answer any more: that says nothing of the way
		}
		m.ways.drop(pod.UID, w)
		if !kept || ctx.Err() != nil {
			return nil, err
		}
		kept = false // a kept way may have died with a container that is back by now
		if w, err = m.connect(ctx, node, pod.UID); err != nil {
			return nil, err
		}
		return w.get(ctx, path, token)
	}, nil
}

// answered tells that the node itself has refused: its way is sound.
func answered(err error) bool {
	var p *api.Problem
	return errors.As(err, &p)
}

// connect opens a way to a pod's API, which checks the node's certificate against its name,
// and keeps it for other questions.
func (m *Mesh) connect(ctx context.Context, node string, pod types.UID) (*way, error) {
	pool, err := m.trust(ctx)
	if err != nil {
		return nil, err
	}
	addr, hangUp, closed, err := m.dial(ctx, node, api.Port)
	if err != nil {
		return nil, err
	}
	// What was opened goes to whoever has the name.
	now, err := m.kube.CoreV1().Pods(m.Namespace).Get(ctx, node, metav1.GetOptions{})
	if err == nil && now.UID != pod {
		err = errors.New("another pod has taken its name")
	}
	if err != nil {
		hangUp()
		return nil, fmt.Errorf("way to %s: %w", node, err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: node, MinVersion: tls.VersionTLS13}}
	return m.ways.add(pod, &way{
		client: &http.Client{Transport: transport},
		base:   "https://" + addr,
		close: func() {
			hangUp()
			transport.CloseIdleConnections()
		},
		closed: closed,
	}), nil
}
