package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// History is an append-only file of operations as JSON lines.
type History struct {
	mu   sync.Mutex
	f    *os.File
	ops  *prometheus.CounterVec
	last prometheus.Gauge
}

// OpenHistory makes a new history in path and registers its metrics.
func OpenHistory(path string, reg prometheus.Registerer) (*History, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	h := &History{
		f: f,
		ops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metric.ClientOperationsTotal, Help: "Operations of the recording client, by kind, node and result.",
		}, []string{"op", "node", "result"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{Name: metric.ClientLastOK, Help: "When an operation last succeeded; until one has, when the client began."}),
	}
	h.last.SetToCurrentTime() // who has just begun is not one whom nobody has served for long
	reg.MustRegister(h.ops, h.last)
	return h, nil
}

// Append writes an operation.
func (h *History) Append(o api.Operation) error {
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	h.ops.WithLabelValues(o.Op, o.Node, string(o.Result)).Inc()
	if o.Result == api.OK {
		h.last.SetToCurrentTime()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err = h.f.Write(append(line, '\n'))
	return err
}

// ServeHTTP serves the whole lines written so far, and the time.
func (h *History) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	st, err := h.f.Stat()
	h.mu.Unlock()
	if err != nil {
		http.Error(w, "the history cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set(api.ClockHeader, time.Now().UTC().Format(time.RFC3339Nano))
	if r.Method == http.MethodHead {
		return
	}
	// The reader is gone if this fails; the history is as it was.
	_, _ = io.Copy(w, io.NewSectionReader(h.f, 0, st.Size()))
}

// Close closes the file.
func (h *History) Close() error { return h.f.Close() }
