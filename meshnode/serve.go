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

// serve listens on addr now and serves in the group until ctx ends.
func serve(ctx context.Context, group *errgroup.Group, addr string, h http.Handler, t *tls.Config, logger *slog.Logger) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	group.Go(func() error { return server.Serve(ctx, ln, h, t, logger) })
	return nil
}
