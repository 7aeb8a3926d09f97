package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Kinds of operations.
const (
	Write = "write"
	Read  = "read"
)

// Results of operations. A write whose result is unknown may have taken place.
const (
	OK      = "ok"
	Failed  = "fail"
	Unknown = "unknown"
)

// Operation is one line of the history.
type Operation struct {
	Op   string `json:"op"`
	ID   string `json:"id"`
	Node string `json:"node"`
	// Times have nanoseconds (RFC 3339).
	Invoked  time.Time `json:"invoked"`
	Returned time.Time `json:"returned"`
	Result   string    `json:"result"`
	// Found says that a read returned the record, with the right content. A
	// node that answers that it has no such record makes the read ok, not found.
	Found    bool     `json:"found,omitempty"`
	Status   int      `json:"status"` // of the last attempt; 0 without an answer
	Attempts int      `json:"attempts"`
	Errors   []string `json:"errors,omitempty"` // of the attempts that failed
}

// outcome judges a failed attempt: a write failed for sure only if it was not
// sent, or refused as wrong. An earlier unknown stays unknown.
func (o *Operation) outcome(status int, err error) string {
	if o.Result == Unknown {
		return Unknown
	}
	if o.Op == Read || errors.Is(err, errNotSent) || permanent(status) || status == http.StatusUnauthorized {
		return Failed
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return Failed
	}
	return Unknown
}

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
			Name: "x0tta6bl4_client_operations_total", Help: "Operations of the recording client, by kind, node and result.",
		}, []string{"op", "node", "result"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{Name: "x0tta6bl4_client_last_ok_timestamp_seconds", Help: "When an operation last succeeded."}),
	}
	reg.MustRegister(h.ops, h.last)
	return h, nil
}

// Append writes an operation.
func (h *History) Append(o Operation) error {
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	h.ops.WithLabelValues(o.Op, o.Node, o.Result).Inc()
	if o.Result == OK {
		h.last.SetToCurrentTime()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err = h.f.Write(append(line, '\n'))
	return err
}

// ServeHTTP serves the whole lines written so far.
func (h *History) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	st, err := h.f.Stat()
	h.mu.Unlock()
	if err != nil {
		http.Error(w, "the history cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	if r.Method == http.MethodHead {
		return
	}
	// The reader is gone if this fails; the history is as it was.
	_, _ = io.Copy(w, io.NewSectionReader(h.f, 0, st.Size()))
}

// Close closes the file.
func (h *History) Close() error { return h.f.Close() }
