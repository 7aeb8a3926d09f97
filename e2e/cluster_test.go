package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
)

const (
	// reachWithin is how long an existing cluster may take to answer.
	reachWithin = 10 * time.Second
	// preflightWithin bounds finding out whether a cluster can be made.
	preflightWithin = 2 * time.Minute
)

// checkCluster sees whether an existing cluster answers.
func (o *options) checkCluster() error {
	if o.kubeconfig == "" {
		if config, _ := GinkgoConfiguration(); config.ParallelTotal > 1 {
			return errors.New("several processes need a cluster to share: make one with `make cluster-up` and give -kubeconfig")
		}
		return nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("-kubeconfig %s: %w", o.kubeconfig, err)
	}
	config.Timeout = reachWithin
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("-kubeconfig %s: %w", o.kubeconfig, err)
	}
	if _, err := d.ServerVersion(); err != nil {
		return fmt.Errorf("-kubeconfig %s: %s does not answer: %w", o.kubeconfig, config.Host, err)
	}
	return nil
}

// preflight sees whether a cluster can be made, where one is to be made.
func preflight() error {
	if config, _ := GinkgoConfiguration(); config.DryRun || suite.options.kubeconfig != "" {
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, preflightWithin)
	defer cancel()
	return cluster.Preflight(ctx)
}
