package fault

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// burning prints the stressors in a pod's own cgroup, a line each: name,
// user and system time in clock ticks. A stressor that Chaos Mesh started but
// did not move into the cgroup is not seen, for it does not burn there.
const burning = `
uid=$1; alt=$(echo "$uid" | tr - _)
for f in $(grep -ls -e "$uid" -e "$alt" /proc/[0-9]*/cgroup); do
  d=${f%/cgroup}
  name=$(cat "$d/comm" 2>/dev/null) || continue
  case $name in
    stress-ng*|memStress) set -- $(cut -d' ' -f14,15 "$d/stat" 2>/dev/null) && [ $# = 2 ] && echo "$name $1 $2" ;;
  esac
done
echo end
`

// Stress is what the stressors in a pod's cgroup do.
type Stress struct {
	Processes int
	// Ticks is the CPU time that they have used, in clock ticks.
	Ticks uint64
}

// ticksPerSecond is USER_HZ, which proc(5) counts in, on every architecture that Go and
// Kubernetes run on.
const ticksPerSecond = 100

// Cores returns how many cores stressors have used since an earlier look, none if there
// was none or they have been replaced since.
func (s Stress) Cores(before Stress, since time.Duration) float64 {
	if before.Ticks == 0 || s.Ticks < before.Ticks {
		return 0
	}
	return float64(s.Ticks-before.Ticks) / ticksPerSecond / since.Seconds()
}

// Stressors looks for stressors in a pod's cgroup.
func Stressors(ctx context.Context, c client.Client, x Execer, pod corev1.Pod) (Stress, error) {
	out, err := OnNodeOf(ctx, c, x, pod, burning)
	if err != nil {
		return Stress{}, fmt.Errorf("look for stressors in pod %s: %w", pod.Name, err)
	}
	return parseBurning(out)
}

func parseBurning(out string) (Stress, error) {
	var s Stress
	whole := false
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 1 && fields[0] == "end":
			whole = true
		case len(fields) == 3:
			s.Processes++
			for _, f := range fields[1:] {
				n, err := strconv.ParseUint(f, 10, 64)
				if err != nil {
					return Stress{}, fmt.Errorf("stressor %q: %w", strings.TrimSpace(line), err)
				}
				s.Ticks += n
			}
		}
	}
	if !whole {
		return Stress{}, fmt.Errorf("the answer is cut short: %q", out)
	}
	return s, nil
}

// OnNodeOf runs a script, which gets the pod's UID, in the Chaos Mesh daemon on
// the pod's node: it sees the node's processes and brings the very tools that
// the faults are made with.
func OnNodeOf(ctx context.Context, c client.Client, x Execer, pod corev1.Pod, script string) (string, error) {
	var daemons corev1.PodList
	if err := c.List(ctx, &daemons, daemonLabels); err != nil {
		return "", fmt.Errorf("list the pods of the Chaos Mesh daemon: %w", err)
	}
	n := slices.IndexFunc(daemons.Items, func(d corev1.Pod) bool { return d.Spec.NodeName == pod.Spec.NodeName })
	if n < 0 {
		return "", fmt.Errorf("no Chaos Mesh daemon on node %s", pod.Spec.NodeName)
	}
	d := daemons.Items[n]
	var out, errOut bytes.Buffer
	err := x.ExecInPod(ctx, d.Namespace, d.Name, d.Spec.Containers[0].Name,
		[]string{"sh", "-c", script, "look", string(pod.UID)}, &out, &errOut)
	if err != nil {
		return "", fmt.Errorf("from %s/%s: %w: %s", d.Namespace, d.Name, err, bytes.TrimSpace(errOut.Bytes()))
	}
	return out.String(), nil
}
