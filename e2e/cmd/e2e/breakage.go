package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
)

// breakage is a part of the harness that goes out of order while a scenario is judged.
type breakage struct {
	name, scenario string
	// do and undo are shell scripts for every node of the cluster, or for its control plane.
	everywhere bool
	do, undo   string
}

// kubectl is how a control-plane node talks to its API server.
const kubectl = "kubectl --kubeconfig=/etc/kubernetes/admin.conf "

var breakages = []breakage{
	{name: "Prometheus is stopped", scenario: "network-partition",
		do: kubectl + "-n monitoring scale deployment prometheus --replicas=0", undo: kubectl + "-n monitoring scale deployment prometheus --replicas=1 && " + kubectl + "-n monitoring rollout status deployment prometheus --timeout=90s"},
	{name: "a prober is killed", scenario: "network-partition", everywhere: true,
		do: "pkill -KILL -x -n probe || true"},
}

// strikePoll is how often it is looked for the fault under which the harness is to break.
const strikePoll = time.Second

// strike waits until a fault of Chaos Mesh is there, and breaks what is to be broken.
func (b breakage) strike(ctx context.Context, e *engine.Engine) error {
	nodes, err := remains.Nodes(ctx, e, remains.Kept())
	if err != nil {
		return err
	}
	plane := slices.IndexFunc(nodes, func(n string) bool { return strings.HasSuffix(n, "control-plane") })
	if plane < 0 {
		return fmt.Errorf("no control plane among %v", nodes)
	}
	every := time.NewTicker(strikePoll)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("the run was over before there was a fault under which to break it")
		case <-every.C:
		}
		out, err := e.Output(ctx, "exec", nodes[plane], "sh", "-c", kubectl+"get networkchaos -A -o name")
		if err == nil && strings.TrimSpace(out) != "" {
			return b.run(ctx, e, b.do)
		}
	}
}

// mend undoes it, also after an interrupt.
func (b breakage) mend(ctx context.Context, e *engine.Engine) error {
	if b.undo == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return b.run(ctx, e, b.undo)
}

func (b breakage) run(ctx context.Context, e *engine.Engine, script string) error {
	nodes, err := remains.Nodes(ctx, e, remains.Kept())
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if b.everywhere || strings.HasSuffix(n, "control-plane") {
			if _, err := e.Output(ctx, "exec", n, "sh", "-c", script); err != nil {
				return err
			}
		}
	}
	return nil
}
