package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/trial"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

// checkFault finds what is wrong with a fault by hand.
func (o *options) checkFault() (err error) {
	if !o.byHand {
		return nil
	}
	if o.trial, err = trial.Find(scenarios, o.fixtures, o.fault); err != nil {
		return err
	}
	o.profile = scenario.Profile{Name: "by hand", Fault: o.lasts}
	switch {
	case o.kubeconfig == "":
		return errors.New("there is no cluster (-kubeconfig) with a mesh: make mesh-up makes both")
	case o.lasts != 0 && o.lasts < scenario.AlertFor:
		return fmt.Errorf("FOR=%v (-for) is too short: %v at least, so that all of it can be proven", o.lasts, scenario.AlertFor)
	}
	return nil
}

// faultByHand injects a fault in the mesh of make mesh-up.
func faultByHand(out io.Writer) (int, error) {
	// The libraries' own words would stand between the lines.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	ctrllog.SetLogger(klog.Background())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	o := suite.options
	c, err := cluster.Up(ctx, cluster.Options{Kubeconfig: o.kubeconfig, Log: os.Stderr})
	if err != nil {
		return report.ExitUsage, err
	}
	p, err := prom.New(c.Config, c.Prometheus)
	if err != nil {
		return report.ExitFailed, err
	}
	if err := p.Ready(ctx); err != nil {
		return report.ExitFailed, err
	}
	return trial.Run(ctx, scenario.Env{
		Config: c.Config, Kube: c.Kubernetes, Client: c.Client, Prom: p, Fixtures: o.fixtures, Prober: o.published.Ref(image.Probe), Profile: o.profile,
	}, o.trial, mesh.Documented, out)
}
