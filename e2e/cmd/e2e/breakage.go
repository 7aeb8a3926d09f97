package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/clock"
	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
)

// breakage is a part of the harness that goes out of order while a scenario is judged.
type breakage struct {
	name, scenario string
	// when is a shell script for the control plane that prints the namespace of the fault under
	// which to break it, as soon as that is there; after is how much later it breaks.
	when  string
	after time.Duration
	// do and undo are shell scripts for every machine of the cluster, or for its control plane.
	// do gets the namespace of the fault. undo may be run again, and where nothing was done.
	everywhere bool
	do, undo   string
	// lasts is how long it is out of order; or it is until a script like when prints anything.
	// Without either it is until the run is over.
	lasts time.Duration
	until string
}

const (
	// kubectl is how a control-plane node talks to its API server.
	kubectl = "kubectl --kubeconfig=/etc/kubernetes/admin.conf "

	// networkFaults prints each namespace with a fault of the network, and whether all of that fault is there.
	networkFaults = kubectl + `get networkchaos -A -o jsonpath='{range .items[*]}{.metadata.namespace}{" "}{.status.conditions[?(@.type=="AllInjected")].status}{"\n"}{end}'`
	// anyNetworkFault prints the namespaces alone.
	anyNetworkFault = networkFaults + " | sed 's/ .*//'"
	// ephemeral prints each namespace with a pod of a node, and what ephemeral containers that has.
	ephemeral = kubectl + `get pods -A -l app=mesh-node -o jsonpath='{range .items[*]}{.metadata.namespace}{" "}{.spec.ephemeralContainers[*].name}{"\n"}{end}'`

	// kubeletRule rejects what comes to a kubelet. As the first rule it ends connections that stand, too.
	kubeletRule = "INPUT -p tcp --dport 10250 -j REJECT --reject-with tcp-reset"

	// movedClock sets the clock of one node, not the attacker's, back by more than what makes the times of journals
	// incomparable (50 ms), and by less than what the nodes take for a wrong clock, which they correct (2 s). It is in the
	// namespace of the mesh and goes with that, whatever becomes of this process.
	movedClock = kubectl + `apply -f - <<EOF
apiVersion: chaos-mesh.org/v1alpha1
kind: TimeChaos
metadata:
  name: moved-clock
  namespace: $1
  labels:
    breakage: moved-clock
spec:
  mode: all
  selector:
    namespaces:
      - $1
    labelSelectors:
      statefulset.kubernetes.io/pod-name: mesh-node-b-1
  timeOffset: "-200ms"
  clockIds:
    - CLOCK_REALTIME
EOF
`

	// cutLasts is longer than a partition with the wait for its heal (scenario.WaitHeal) in any profile, so that asking again
	// does not help. It is over before the last criteria, which see the harness recover.
	cutLasts = 80 * time.Second
	// provenWithin is how long it takes to prove a fault that Chaos Mesh has injected.
	provenWithin = 2 * time.Second
)

var breakages = []breakage{
	{name: "Prometheus is stopped", scenario: "network-partition", when: anyNetworkFault,
		do: kubectl + "-n monitoring scale deployment prometheus --replicas=0", undo: kubectl + "-n monitoring scale deployment prometheus --replicas=1 && " + kubectl + "-n monitoring rollout status deployment prometheus --timeout=90s"},
	{name: "a prober is killed", scenario: "network-partition", when: anyNetworkFault, everywhere: true,
		do: "pkill -KILL -x -n probe || true"},
	// The API server reaches into pods through their kubelets: for port-forwards, logs and commands, but not for probes of
	// readiness. So journals, histories and probers' logs cannot be read, and the pods stay as they are.
	{name: "the port-forward is cut", scenario: "network-partition", when: networkFaults + " | sed -n 's/ True$//p'", after: provenWithin, everywhere: true, lasts: cutLasts,
		do:   "iptables -w -I " + kubeletRule + " && { ip6tables -w -I " + kubeletRule + " || true; }",
		undo: "for t in iptables ip6tables; do while $t -w -D " + kubeletRule + " 2>/dev/null; do :; done; done"},
	// It moves before the attack, so that no journal jumps in what is judged of that. It is right again with the fault that comes
	// after: by then all that compares clocks is judged, and what is left behind is not yet.
	{name: "one node's clock is moved", scenario: "pqc-corrupt", when: ephemeral + " | sed -n 's/ .*pqc-replay.*//p'",
		do: movedClock, undo: kubectl + "delete timechaos -A -l breakage=moved-clock --timeout=60s", until: kubectl + "get podchaos -A -o name"},
}

const (
	// strikePoll is how often it is looked for the fault under which the harness is to break.
	strikePoll = time.Second
	// endPoll is the same of what ends a breakage: each look takes of what is judged meanwhile.
	endPoll = 5 * time.Second
)

// strike waits until the fault is there, and breaks what is to be broken. What is to be broken for a time only it mends after that.
func (b breakage) strike(ctx context.Context, e *engine.Engine) error {
	plane, err := planeOf(ctx, e)
	if err != nil {
		return err
	}
	namespace := printed(ctx, e, plane, b.when, strikePoll)
	if namespace == "" || clock.Wait(ctx, b.after) != nil {
		return errors.New("the run was over before there was a fault under which to break it")
	}
	if err := b.run(ctx, e, b.do, namespace); err != nil {
		return err
	}
	switch {
	case b.until != "":
		printed(ctx, e, plane, b.until, endPoll)
	case b.lasts > 0:
		_ = clock.Wait(ctx, b.lasts) // it is mended in any case
	default:
		return nil
	}
	return b.mend(ctx, e)
}

// controlPlane reports whether a machine of that name is the cluster's control plane.
func controlPlane(node string) bool { return strings.HasSuffix(node, "control-plane") }

// printed runs a script in a machine until it prints something, of which it returns the first word; nothing if ctx ends before.
func printed(ctx context.Context, e *engine.Engine, node, script string, every time.Duration) string {
	for clock.Wait(ctx, every) == nil {
		out, err := e.Output(ctx, "exec", node, "sh", "-c", script)
		if words := strings.Fields(out); err == nil && len(words) > 0 {
			return words[0]
		}
	}
	return ""
}

// planeOf is the node of the kept cluster where its API server is.
func planeOf(ctx context.Context, e *engine.Engine) (string, error) {
	nodes, err := remains.Nodes(ctx, e, remains.Kept())
	if err != nil {
		return "", err
	}
	plane := slices.IndexFunc(nodes, controlPlane)
	if plane < 0 {
		return "", fmt.Errorf("no control plane among %v", nodes)
	}
	return nodes[plane], nil
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

// run runs a script where the breakage is, with arguments.
func (b breakage) run(ctx context.Context, e *engine.Engine, script string, args ...string) error {
	nodes, err := remains.Nodes(ctx, e, remains.Kept())
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if b.everywhere || controlPlane(n) {
			if _, err := e.Output(ctx, append([]string{"exec", n, "sh", "-c", script, "sh"}, args...)...); err != nil {
				return err
			}
		}
	}
	return nil
}
