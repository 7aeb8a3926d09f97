package doctor

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/host"
)

const (
	// minMTU is the least that the mesh's frames fit: IPv6's least, RFC 8200 section 5.
	minMTU = 1280
	// maxSkew is by how much a machine's clock may differ from the one here. What both say is compared with it
	// taken into account, and the mesh calls a clock wrong that is seconds off.
	maxSkew = 500 * time.Millisecond
)

// capabilities are what the verifier needs, by their numbers in capability.h.
var capabilities = map[string]uint{"CAP_NET_ADMIN": 12, "CAP_PERFMON": 38, "CAP_BPF": 39}

// inside tells what a machine gives its containers. It runs in the machine's daemon of Chaos Mesh, which sees all processes: the
// first may do what any container there may be given, and the daemon itself perhaps less.
const inside = `
test -e /sys/kernel/btf/vmlinux && echo types
sed -n 's/^CapBnd:[[:space:]]*/capabilities /p' /proc/1/status
echo users $(cat /proc/1/uid_map)
unshare -n sh -c "tc qdisc add dev lo clsact && tc filter add dev lo egress bpf bytecode '1,6 0 0 0,'" >/dev/null 2>&1 && echo filters
for i in /sys/class/net/*/mtu; do n=${i%/mtu} n=${n##*/}; [ "$n" = lo ] || echo mtu "$n" "$(cat "$i")"; done
date +'clock %s.%N'
`

// machine is what one says of itself.
type machine struct {
	types        bool // the kernel has type information
	filters      bool // it has filters with eBPF, for what needs tcx and finds none
	capabilities uint64
	users        string // /proc/1/uid_map
	mtus         map[string]int
	clock        time.Time
}

// usableMachines are those that pods may come to which tolerate nothing.
func usableMachines(ctx context.Context, c *Cluster) ([]corev1.Node, error) {
	l, err := c.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(l.Items, func(n corev1.Node) bool {
		return n.Spec.Unschedulable || slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
			return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
		})
	}), nil
}

// machines looks at each machine that a node of the mesh may come to: its kernel, what containers may do there, the pods'
// MTU, its clock. Where no daemon of Chaos Mesh is ready only the kernel's release can be seen.
func machines(ctx context.Context, c *Cluster) ([]Finding, error) {
	usable, err := usableMachines(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(usable) == 0 {
		return []Finding{fatal("add a machine, or take the taints off one: kubectl describe nodes", "pods can come to no machine of the cluster")}, nil
	}
	served, err := readyDaemons(ctx, c)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, m := range usable {
		found = append(found, named(m)...)
		if served(m.Name) == nil {
			continue // found by who looks at Chaos Mesh
		}
		before := time.Now()
		out, err := fault.OnNodeOf(ctx, c.Client, c.Exec, corev1.Pod{Spec: corev1.PodSpec{NodeName: m.Name}}, inside)
		after := time.Now()
		var s machine
		if err == nil {
			s, err = parseMachine(out)
		}
		if err != nil {
			found = append(found, passing(tryAgain, "%s: the machine cannot be looked at: %v", m.Name, err))
			continue
		}
		found = append(found, s.findings(m.Name, before, after)...)
		if release := m.Status.NodeInfo.KernelVersion; !s.filters && !host.HasTCX(release) {
			found = append(found, note("modprobe -a sch_ingress cls_bpf there, or leave pqc-corrupt out",
				"%s: %s", m.Name, host.Egress("Linux "+release, "sch_ingress, cls_bpf")))
		}
	}
	return found, nil
}

// named judges what a machine is said to be.
func named(m corev1.Node) (found []Finding) {
	info := m.Status.NodeInfo
	if info.OperatingSystem != "linux" {
		return []Finding{fatal("kubectl taint node "+m.Name+" os="+info.OperatingSystem+":NoSchedule", "%s: nodes of the mesh may come there, and it runs %s", m.Name, info.OperatingSystem)}
	}
	if info.Architecture != runtime.GOARCH {
		found = append(found, note("bring images that were made for it", "%s: it is %s, and images that are made here are for %s", m.Name, info.Architecture, runtime.GOARCH))
	}
	if err := host.CheckRelease(info.KernelVersion); err != nil {
		found = append(found, fatal("boot a newer kernel there", "%s: %v", m.Name, err))
	}
	return found
}

// findings judges what a machine said between two times of this one.
func (m machine) findings(name string, before, after time.Time) (found []Finding) {
	if !m.types {
		found = append(found, fatal("boot a kernel with CONFIG_DEBUG_INFO_BTF there", "%s: the kernel has no type information, which the eBPF verifier needs", name))
	}
	var lacks []string
	for c, bit := range capabilities {
		if m.capabilities&(1<<bit) == 0 {
			lacks = append(lacks, c)
		}
	}
	if slices.Sort(lacks); len(lacks) > 0 {
		found = append(found, fatal("see the container runtime's and the machine's limits on capabilities there", "%s: containers cannot have %s", name, strings.Join(lacks, ", ")))
	}
	if f := strings.Fields(m.users); len(f) != 3 || f[0] != "0" || f[1] != "0" {
		found = append(found, fatal("use a cluster whose machines run as root", "%s: it runs in a user namespace (rootless), in which no eBPF program can be loaded", name))
	}
	for i, mtu := range m.mtus {
		if mtu < minMTU {
			found = append(found, fatal("set the network plugin's MTU to "+strconv.Itoa(minMTU)+" at least", "%s: the MTU of pods (%s) is %d", name, i, mtu))
		}
	}
	// The clock was read somewhere in between: only what is outside for certain counts.
	skew := max(before.Sub(m.clock), m.clock.Sub(after))
	if skew > maxSkew {
		way := "ahead of"
		if m.clock.Before(before) {
			way = "behind"
		}
		found = append(found, fatal("start a time service (chronyd, systemd-timesyncd) on both", "%s: its clock is %v %s the one here", name, skew.Round(100*time.Millisecond), way))
	}
	return found
}

func parseMachine(out string) (machine, error) {
	m := machine{mtus: map[string]int{}}
	for line := range strings.Lines(out) {
		var err error
		what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "types":
			m.types = true
		case "filters":
			m.filters = true
		case "capabilities":
			m.capabilities, err = strconv.ParseUint(rest, 16, 64)
		case "users":
			m.users = rest
		case "mtu":
			name, mtu, _ := strings.Cut(rest, " ")
			m.mtus[name], err = strconv.Atoi(mtu)
		case "clock":
			var seconds, nanoseconds int64
			_, err = fmt.Sscanf(rest, "%d.%d", &seconds, &nanoseconds)
			m.clock = time.Unix(seconds, nanoseconds)
		}
		if err != nil {
			return m, fmt.Errorf("%q: %w", line, err)
		}
	}
	if m.clock.IsZero() || m.users == "" || m.capabilities == 0 || len(m.mtus) == 0 {
		return m, fmt.Errorf("the answer is cut short: %q", out)
	}
	return m, nil
}
