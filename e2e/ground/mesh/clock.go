package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/clock"
	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Skew returns how far a node's clock may be from this machine's: see clock.Off. It is the clock of
// its journal.
func (m *Mesh) Skew(ctx context.Context, node string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	get, err := m.open(ctx, node)
	if err != nil {
		return 0, fmt.Errorf("clock of %s: %w", node, err)
	}
	off, err := clock.Off(func() (time.Time, error) {
		var s api.Status
		b, err := get(api.StatusPath)
		if err == nil {
			err = json.Unmarshal(b, &s)
		}
		return s.Time, err
	})
	if err != nil {
		return 0, fmt.Errorf("clock of %s: %w", node, err)
	}
	return off, nil
}

// ClientSkew is Skew of the recording clients' clocks, by which their histories are dated: of the one that
// may be off most.
func (m *Mesh) ClientSkew(ctx context.Context) (time.Duration, error) {
	clients, err := m.Pods(ctx, ClientApp)
	if err != nil {
		return 0, err
	}
	if len(clients) == 0 {
		return 0, fmt.Errorf("no pod with app=%s in %s", ClientApp, m.Namespace)
	}
	var worst time.Duration
	for _, p := range clients {
		off, err := m.clientSkew(ctx, p.Name)
		if err != nil {
			return 0, fmt.Errorf("clock of %s: %w", p.Name, err)
		}
		worst = max(worst, off)
	}
	return worst, nil
}

func (m *Mesh) clientSkew(ctx context.Context, pod string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	addr, hangUp, _, err := m.dial(ctx, pod, api.MetricsPort)
	if err != nil {
		return 0, err
	}
	defer hangUp()
	return clock.Off(func() (time.Time, error) { return clientTime(ctx, "http://"+addr+historyPath) })
}

// clientTime returns what time it is at who serves a history.
func clientTime(ctx context.Context, url string) (told time.Time, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return told, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return told, err
	}
	told, err = time.Parse(time.RFC3339Nano, resp.Header.Get(api.ClockHeader))
	if err != nil {
		err = fmt.Errorf("HEAD %s: %s: %w", req.URL.Path, resp.Status, err)
	}
	return told, errors.Join(err, resp.Body.Close())
}
