package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/server"
)

// publishRetry is the pause between attempts to publish the trust bundle.
const publishRetry = time.Second

func runCA(ctx context.Context, args []string, out io.Writer) error {
	f := command.NewFlags("meshnode ca", "meshnode ca --dir /authority --service-account mesh-node", out)
	dir := f.String("dir", "", "`directory` of the root key; keep it in memory")
	listen := f.String("listen", ":8443", "`address` of enrolment (TLS)")
	probes := f.String("metrics-listen", ":8080", "`address` of /metrics, /healthz and /readyz (plain)")
	account := f.String("service-account", "", "only pods that run as this service `account` are enrolled; empty: any of the namespace")
	life := f.Duration("certificate-life", 24*time.Hour, "how long a node's certificate is valid")
	headless := f.String("nodes-service", "mesh-nodes", "headless `Service` of the nodes, for their TLS names")
	shared := f.String("api-service", "mesh-api", "`Service` of the client API, for the nodes' TLS names")
	hosts := f.String("hosts", "", "comma-separated further `names` or addresses of the authority's own certificate")
	tokenSecret := f.String("api-token-secret", "", "`Secret` to give a bearer token of the client API, if it has none; empty: somebody else does")
	publish := f.Duration("publish-timeout", time.Minute, "how long to try to publish the trust bundle")
	newLogger := f.LogLevel()
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := f.Need("dir"); err != nil {
		return err
	}
	logger := newLogger().With("node", "ca")
	authority, err := identity.OpenAuthority(*dir)
	if err != nil {
		return err
	}
	kube, namespace, err := identity.InCluster()
	if err != nil {
		return err
	}
	var further []string
	if *hosts != "" {
		further = strings.Split(*hosts, ",")
	}
	ca, err := identity.NewCA(identity.CAConfig{
		Authority: authority, Reviewer: kube, Namespace: namespace, ServiceAccount: *account, Life: *life,
		NodeService: *headless, APIService: *shared, Hosts: further, Logger: logger,
	})
	if err != nil {
		return err
	}
	tls, err := ca.TLSConfig()
	if err != nil {
		return err
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var published atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	if _, err := serve(ctx, group, *probes, server.Probes(reg, func() []string {
		if published.Load() {
			return nil
		}
		return []string{"the trust bundle is not published yet"}
	}), nil, logger); err != nil {
		return err
	}
	if _, err := serve(ctx, group, *listen, ca.Handler(), tls, logger); err != nil {
		return err
	}
	group.Go(func() error {
		limit, cancel := context.WithTimeout(ctx, *publish)
		defer cancel()
		for {
			err := provide(limit, ca, kube, *tokenSecret)
			if err == nil {
				published.Store(true)
				logger.Info("trust bundle published", "namespace", namespace, "configmap", identity.TrustConfigMap)
				return nil
			}
			logger.Warn("trust bundle not published, will retry", "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-limit.Done():
				return fmt.Errorf("publish the trust bundle within %v: %w", *publish, err)
			case <-time.After(publishRetry):
			}
		}
	})
	return group.Wait()
}

// provide publishes all that nodes and clients wait for: a token for the client API, if the
// Secret lacks one, and the trust bundle.
func provide(ctx context.Context, ca *identity.CA, kube *identity.Kube, tokenSecret string) error {
	if tokenSecret != "" {
		if err := ca.ProvideAPIToken(ctx, kube, tokenSecret); err != nil {
			return err
		}
	}
	return ca.Publish(ctx, kube)
}
