// Package server serves a node's HTTP: the client API of package api over TLS,
// and metrics and probes in plain.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds of a connection. A client that is slower than these is cut off.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 15 * time.Second
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10
	// drain is how long requests in hand may take when the server stops.
	drain = 3 * time.Second
)

// Serve serves h on ln until ctx ends, which is no error. With a TLS
// configuration it speaks TLS.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, t *tls.Config, logger *slog.Logger) error {
	s := &http.Server{
		Handler: h, TLSConfig: t, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() {
		if t != nil {
			failed <- s.ServeTLS(ln, "", "")
		} else {
			failed <- s.Serve(ln)
		}
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("server on %v: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := s.Shutdown(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("server on %v: %w", ln.Addr(), err)
	}
	return s.Close()
}

// Probes serves /metrics, /healthz and /readyz and nothing else. notReady
// returns why the process should get no clients, nil if it should. Health is
// only that the process answers: a restart heals no peer.
func Probes(reg *prometheus.Registry, notReady func() []string) http.Handler {
	mux := http.NewServeMux()
	// Classic text: OpenMetrics would append _total to names that have none.
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: false}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		why := notReady()
		if len(why) == 0 {
			say(w, http.StatusOK, "ready")
			return
		}
		say(w, http.StatusServiceUnavailable, why...)
	})
	return mux
}

func say(w http.ResponseWriter, status int, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return // the prober is gone
		}
	}
}
