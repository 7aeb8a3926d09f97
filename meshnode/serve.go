package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/x0tta6bl4/mesh/meshnode/internal/server"
)

// serve listens on addr now and serves in the group until ctx ends. The channel
// is closed once no request is in hand any more.
func serve(ctx context.Context, group *errgroup.Group, addr string, h http.Handler, t *tls.Config, logger *slog.Logger) (<-chan struct{}, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	ended := make(chan struct{})
	group.Go(func() error {
		defer close(ended)
		return server.Serve(ctx, ln, h, t, logger)
	})
	return ended, nil
}
