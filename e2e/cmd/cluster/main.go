// Command cluster makes a cluster with Chaos Mesh, Prometheus, metrics-server and volumes, and leaves it:
// cluster [-family F] [-mtu N] KUBECONFIG, the file to write for its user. Make calls it through e2e up.
// Exit codes: 0 done, 1 failed, 2 usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
)

// cleanupTimeout bounds the removal of a cluster that did not come up.
const cleanupTimeout = 2 * time.Minute

func main() {
	var network cluster.Network
	flag.StringVar(&network.Family, "family", "", "the pods' IP `family`: ipv4 (the default), ipv6 or dual")
	flag.IntVar(&network.MTU, "mtu", 0, "the MTU of the pods' interfaces in `bytes`; 0: the nodes'")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: cluster [-family F] [-mtu N] KUBECONFIG")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := up(ctx, flag.Arg(0), network)
	stop()
	switch {
	case errors.Is(err, cluster.ErrUsage):
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func up(ctx context.Context, kubeconfig string, network cluster.Network) error {
	c, err := cluster.Up(ctx, cluster.Options{Name: remains.Kept(), Network: network, Log: os.Stderr})
	if err == nil {
		err = keep(c.Kubeconfig, kubeconfig)
	}
	if err == nil {
		return c.Leave()
	}
	if c != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		err = errors.Join(err, c.Down(clean))
	}
	return err
}

// keep copies the kubeconfig to where a person finds it, for this user only.
func keep(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}
