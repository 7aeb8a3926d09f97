package fault

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// daemonLabels find Chaos Mesh's daemon in whatever namespace it runs.
var daemonLabels = client.MatchingLabels{"app.kubernetes.io/component": "chaos-daemon"}

// look prints the packet filters and qdiscs of a pod's network namespace. It
// runs in the Chaos Mesh daemon of the pod's node, which sees the node's
// processes and brings the very tools that the faults were made with.
const look = `
uid=$1; alt=$(echo "$uid" | tr - _)
for d in /proc/[0-9]*; do
  grep -qs -e "$uid" -e "$alt" "$d/cgroup" && pid=${d#/proc/} && break
done
[ -n "$pid" ] || { echo "no process of pod $uid on this node" >&2; exit 1; }
inside() { nsenter -t "$pid" -n -- "$@"; }
found=
for save in iptables-legacy-save iptables-nft-save iptables-save ip6tables-legacy-save ip6tables-nft-save ip6tables-save; do
  command -v $save >/dev/null 2>&1 || continue
  inside $save && found=1
done
[ -n "$found" ] || { echo "no iptables-save works in this daemon" >&2; exit 1; }
echo "== qdisc"
inside tc qdisc show
`

// NetState is what of a pod's network namespace faults may change.
type NetState struct {
	Rules  []string // of the chains CHAOS-*
	Qdiscs []string
}

// Execer runs a command in a container.
type Execer interface {
	ExecInPod(ctx context.Context, namespace, pod, container string, command []string, stdout, stderr *bytes.Buffer) error
}

// Look reads the state of the pods' network namespaces by pod name.
func Look(ctx context.Context, c client.Client, x Execer, pods []corev1.Pod) (map[string]NetState, error) {
	var daemons corev1.PodList
	if err := c.List(ctx, &daemons, daemonLabels); err != nil {
		return nil, fmt.Errorf("list the pods of the Chaos Mesh daemon: %w", err)
	}
	states := map[string]NetState{}
	for _, p := range pods {
		n := slices.IndexFunc(daemons.Items, func(d corev1.Pod) bool { return d.Spec.NodeName == p.Spec.NodeName })
		if n < 0 {
			return nil, fmt.Errorf("no Chaos Mesh daemon on node %s of pod %s", p.Spec.NodeName, p.Name)
		}
		d := daemons.Items[n]
		var out, errOut bytes.Buffer
		err := x.ExecInPod(ctx, d.Namespace, d.Name, d.Spec.Containers[0].Name,
			[]string{"sh", "-c", look, "look", string(p.UID)}, &out, &errOut)
		if err != nil {
			return nil, fmt.Errorf("look into pod %s from %s/%s: %w: %s", p.Name, d.Namespace, d.Name, err, bytes.TrimSpace(errOut.Bytes()))
		}
		states[p.Name], err = parseLook(out.String())
		if err != nil {
			return nil, fmt.Errorf("look into pod %s: %w", p.Name, err)
		}
	}
	return states, nil
}

// parseLook reads the output of look. Chaos Mesh leaves empty chains CHAOS-*
// and the jumps to them behind by design; only rules in them do anything.
func parseLook(out string) (NetState, error) {
	filters, qdiscs, ok := strings.Cut(out, "== qdisc\n")
	if !ok || !strings.Contains(qdiscs, "qdisc ") {
		return NetState{}, fmt.Errorf("the answer is cut short: %q", out)
	}
	var s NetState
	for line := range strings.Lines(filters) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-A CHAOS-") {
			s.Rules = append(s.Rules, line)
		}
	}
	for line := range strings.Lines(qdiscs) {
		if line = strings.TrimSpace(line); line != "" {
			s.Qdiscs = append(s.Qdiscs, line)
		}
	}
	slices.Sort(s.Rules)
	s.Rules = slices.Compact(s.Rules)
	return s, nil
}

// Residue tells what faults left in the pods' network namespaces: any rule,
// and any qdisc that was not there before.
func Residue(before, after map[string]NetState) []string {
	var left []string
	for pod, a := range after {
		for _, r := range a.Rules {
			left = append(left, fmt.Sprintf("%s: rule %s", pod, r))
		}
		for _, q := range a.Qdiscs {
			if !slices.Contains(before[pod].Qdiscs, q) {
				left = append(left, fmt.Sprintf("%s: %s", pod, q))
			}
		}
	}
	slices.Sort(left)
	return left
}

// Objects names the Chaos Mesh objects that are still in a namespace and the
// finalizers that hold them.
func Objects(ctx context.Context, c client.Client, namespace string) ([]string, error) {
	left, err := list(ctx, c, namespace)
	var names []string
	for _, o := range left {
		names = append(names, fmt.Sprintf("%T %s (finalizers: %s)", o, o.GetName(), strings.Join(o.GetFinalizers(), ", ")))
	}
	return names, err
}
