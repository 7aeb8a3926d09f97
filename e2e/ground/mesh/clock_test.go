package mesh

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// The clients' histories are dated by a clock of theirs; that it cannot be read does not make it right.
func TestClientSkew(t *testing.T) {
	for name, c := range map[string]struct {
		ahead time.Duration
		mute  bool
	}{
		"right": {0, false}, "an hour ahead": {time.Hour, false}, "of who tells no time": {0, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodHead || r.URL.Path != historyPath {
					t.Errorf("%s %s", r.Method, r.URL.Path)
				}
				if !c.mute {
					w.Header().Set(api.ClockHeader, time.Now().Add(c.ahead).UTC().Format(time.RFC3339Nano))
				}
			}))
			defer s.Close()
			client := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "s1", Name: "client", Labels: map[string]string{"app": ClientApp}}}
			m := New(nil, fake.NewClientset(client), nil, "s1")
			m.dial = func(context.Context, string, int) (string, context.CancelFunc, <-chan struct{}, error) {
				return s.Listener.Addr().String(), func() {}, nil, nil
			}
			off, err := m.ClientSkew(t.Context())
			if (err != nil) != c.mute || err == nil && (off < c.ahead || off > c.ahead+time.Minute) {
				t.Errorf("%v, %v", off, err)
			}
		})
	}
	if off, err := New(nil, fake.NewClientset(), nil, "s1").ClientSkew(t.Context()); err == nil {
		t.Errorf("of nobody: %v", off)
	}
}
