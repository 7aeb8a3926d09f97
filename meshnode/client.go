package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/client"
	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
	"github.com/x0tta6bl4/mesh/meshnode/internal/server"
)

const clientExample = `meshnode client --nodes https://mesh-node-a-0.mesh-nodes.x0tta6bl4.svc:8443,https://mesh-node-b-0.mesh-nodes.x0tta6bl4.svc:8443 \
      --service https://mesh-api.x0tta6bl4.svc:8443 --sessions 20 \
      --token-file /etc/mesh/api/token --trust-dir /etc/mesh/trust --history /data/history.jsonl`

// maxClientSessions bounds --sessions: each has a connection of its own.
const maxClientSessions = 200

func runClient(ctx context.Context, args []string, out io.Writer) error {
	f := command.NewFlags("meshnode client", clientExample, out)
	nodes := f.String("nodes", "", "comma-separated `URLs` of nodes")
	service := f.String("service", "", "`URL` of the Service that leads to any node")
	sessions := f.Int("sessions", 0, "how many client sessions to keep through the Service")
	tokenFile := f.String("token-file", "", "`file` with the bearer token of the client API")
	trustDir := f.String("trust-dir", "", "`directory` of the mesh's trust bundle")
	path := f.String("history", "", "`file` that the history is written to; it is emptied first")
	listen := f.String("listen", ":8080", "`address` of /history, /metrics, /healthz and /readyz (plain)")
	interval := f.Duration("interval", 200*time.Millisecond, "time between operations at one node, and on one session")
	size := f.Int("size", 256, "`bytes` of a record's body")
	newLogger := f.LogLevel()
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := f.Need("token-file", "trust-dir", "history"); err != nil {
		return err
	}
	if *sessions < 0 || *sessions > maxClientSessions {
		return fmt.Errorf("%w: --sessions must be 0 to %d", command.ErrUsage, maxClientSessions)
	}
	if *size < 1 || *size > api.MaxBody || *interval <= 0 {
		return fmt.Errorf("%w: --size must be 1 to %d and --interval positive", command.ErrUsage, api.MaxBody)
	}
	logger := newLogger().With("node", "client")
	reg := prometheus.NewRegistry()
	history, err := client.OpenHistory(*path, reg)
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{
		Nodes: strings.FieldsFunc(*nodes, func(r rune) bool { return r == ',' }), Service: *service, Sessions: *sessions, TokenFile: *tokenFile, TrustDir: *trustDir,
		Interval: *interval, Size: *size, History: history, Logger: logger,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %w", command.ErrUsage, err), history.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /history", history)
	mux.Handle("/", server.Probes(reg, func() []string { return nil }))
	group, ctx := errgroup.WithContext(ctx)
	if _, err := serve(ctx, group, *listen, mux, nil, logger); err != nil {
		return errors.Join(err, history.Close())
	}
	witness := client.NewWitness(reg)
	group.Go(func() error { c.Run(ctx); return nil })
	group.Go(func() error { witness.Run(ctx); return nil })
	return errors.Join(group.Wait(), history.Close())
}
