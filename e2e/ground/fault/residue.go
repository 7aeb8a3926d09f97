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

// look prints the packet filters and qdiscs of a pod's network namespace, and the programs at its egress: those that its
// processes hold at tcx, by a link that lives as long as the file that holds it, and the filters of clsact qdiscs, which
// outlive who made them. Then the processes, for a stressor is one, and what faults of disks and clocks change of one: file
// systems of FUSE that it sees, files that it has on one, and a vDSO that is not the kernel's. It runs in the Chaos Mesh
// daemon of the pod's node, which sees the node's processes and brings the very tools that the faults were made with.
const look = vdso + `
uid=$1; alt=$(echo "$uid" | tr - _)
pids=$(grep -ls -e "$uid" -e "$alt" /proc/[0-9]*/cgroup | cut -d/ -f3)
set -- $pids
pid=$1
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
echo "== tc programs"
for p in $pids; do
  for f in $(grep -ls 'link_type:[[:space:]]*tcx' /proc/$p/fdinfo/*); do
    grep -qs 'attach_type:.*egress' "$f" && echo "tcx egress program held by $(cat /proc/$p/comm)"
  done
done
inside tc qdisc show | sed -n 's/^qdisc clsact .* dev \([^ ]*\) .*/\1/p' | while read -r dev; do
  for side in ingress egress; do
    out=$(inside tc filter show dev "$dev" $side) || { echo "clsact $side filters of $dev cannot be listed"; continue; }
    printf '%s\n' "$out" | sed -n "s/^filter .* chain [0-9]* \([^ ].*\)/clsact $side filter on $dev: \1/p"
  done
done
echo "== processes"
for p in $pids; do cat /proc/$p/comm 2>/dev/null || :; done
echo "== files and clocks"
kernel=$(vdso $$) || { echo "the vDSO cannot be read" >&2; exit 1; }
for p in $pids; do
  comm=$(cat /proc/$p/comm 2>/dev/null) || continue
  sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - \(fuse\(blk\)\{0,1\}\(\.[^ ]*\)\{0,1\}\) .*/\2 at \1/p' /proc/$p/mountinfo 2>/dev/null | while read -r m; do echo "$comm sees $m"; done
  for f in /proc/$p/fd/* /proc/$p/map_files/*; do
    case $(timeout 2 stat -L -f -c %T "$f" 2>&1) in
      *fuse*|*65735546*|*"ransport endpoint"*) echo "$comm has a file on FUSE: $(readlink "$f")" ;;
    esac
  done
  clock=$(vdso $p) && altered "$kernel" "$clock" && echo "$comm has a fake clock"
done
echo "== end"
`

// vdso defines what prints a process's vDSO in hex, which the kernel gives to all alike and which TimeChaos changes,
// and what tells whether there is other code in one than in the kernel's. When Chaos Mesh takes a fake clock
// back it writes whole words of 8 bytes, so that up to 7 bytes behind a function become zeros: that is no clock.
const vdso = `
altered() {
  [ "$1" != "$2" ] && printf '%s\n%s\n' "$1" "$2" | awk '
    NR == 1 { kernel = $0; next }
    { for (i = 1; i < length($0); i += 2) { b = substr($0, i, 2); if (b != "00" && b != substr(kernel, i, 2)) found = 1 } }
    END { exit !found && length($0) == length(kernel) }'
}
vdso() {
  set -- $(sed -n 's/^\([0-9a-f]*\)-\([0-9a-f]*\) .*\[vdso\]$/\1 \2/p' /proc/$1/maps 2>/dev/null) $1
  [ $# = 3 ] || return 1
  set -- "$(dd if=/proc/$3/mem bs=4096 skip=$((0x$1 / 4096)) count=$(((0x$2 - 0x$1) / 4096)) 2>/dev/null | od -An -v -tx1 | tr -d ' \n')"
  [ -n "$1" ] && echo "$1"
}
`

// NetState is what of a pod faults may change.
type NetState struct {
	Rules     []string // of the chains CHAOS-*
	Qdiscs    []string
	Programs  []string // at tcx egress, and filters of clsact qdiscs
	Processes []string // their names
	Altered   []string // their files on FUSE, and fake clocks
}

// Execer runs a command in a container.
type Execer interface {
	ExecInPod(ctx context.Context, namespace, pod, container string, command []string, stdout, stderr *bytes.Buffer) error
}

// Look reads the state of pods by their names.
func Look(ctx context.Context, c client.Client, x Execer, pods []corev1.Pod) (map[string]NetState, error) {
	states := map[string]NetState{}
	for _, p := range pods {
		out, err := OnNodeOf(ctx, c, x, p, look)
		if err != nil {
			return nil, fmt.Errorf("look into pod %s: %w", p.Name, err)
		}
		if states[p.Name], err = parseLook(out); err != nil {
			return nil, fmt.Errorf("look into pod %s: %w", p.Name, err)
		}
	}
	return states, nil
}

// parseLook reads the output of look. Chaos Mesh leaves empty chains CHAOS-*
// and the jumps to them behind by design; only rules in them do anything.
func parseLook(out string) (NetState, error) {
	filters, rest, _ := strings.Cut(out, "== qdisc\n")
	qdiscs, rest, _ := strings.Cut(rest, "== tc programs\n")
	programs, rest, _ := strings.Cut(rest, "== processes\n")
	processes, rest, _ := strings.Cut(rest, "== files and clocks\n")
	altered, _, whole := strings.Cut(rest, "== end\n")
	if !whole || !strings.Contains(qdiscs, "qdisc ") || processes == "" {
		return NetState{}, fmt.Errorf("the answer is cut short: %q", out)
	}
	s := NetState{Qdiscs: lines(qdiscs), Programs: lines(programs), Processes: lines(processes), Altered: slices.Compact(lines(altered))}
	for line := range strings.Lines(filters) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-A CHAOS-") {
			s.Rules = append(s.Rules, line)
		}
	}
	slices.Sort(s.Rules)
	s.Rules = slices.Compact(s.Rules)
	return s, nil
}

// lines returns the lines of a text that are not empty.
func lines(text string) (all []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// plainQdisc is what the devices of every pod have, one that has come since too.
const plainQdisc = "qdisc noqueue 0: "

// Residue tells what faults left in the pods: any rule, any qdisc, program, file on FUSE or fake clock that was not
// there before, and any process of a kind that no pod had.
func Residue(before, after map[string]NetState) []string {
	var left, kinds []string
	for _, b := range before {
		kinds = append(kinds, b.Processes...)
	}
	for pod, a := range after {
		for _, r := range a.Rules {
			left = append(left, fmt.Sprintf("%s: rule %s", pod, r))
		}
		for _, p := range a.Processes {
			if !slices.Contains(kinds, p) {
				left = append(left, fmt.Sprintf("%s: process %s", pod, p))
			}
		}
		b, seen := before[pod]
		known := slices.Concat(b.Qdiscs, b.Programs, b.Altered)
		for _, x := range slices.Concat(a.Qdiscs, a.Programs, a.Altered) {
			if !seen && strings.HasPrefix(x, plainQdisc) {
				continue
			}
			if !slices.Contains(known, x) {
				left = append(left, fmt.Sprintf("%s: %s", pod, x))
			}
		}
	}
	slices.Sort(left)
	return left
}

// Objects names the Chaos Mesh objects and Jobs that are still in a namespace and
// the finalizers that hold them. An ephemeral container that has ended is none: its pod keeps
// it as long as it lives.
func Objects(ctx context.Context, c client.Client, namespace string) ([]string, error) {
	left, err := list(ctx, c, namespace)
	var names []string
	for _, o := range left {
		names = append(names, fmt.Sprintf("%s %s (finalizers: %s)", kindOf(o), o.GetName(), strings.Join(o.GetFinalizers(), ", ")))
	}
	return names, err
}
