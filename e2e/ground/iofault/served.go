package iofault

import (
	"fmt"
	"strings"
)

// Who injects the faults of an IOChaos into a container.
const (
	Nobody  = "nobody"
	Toda    = "toda"
	StandIn = "iofault"
)

// ServerScript tells who injects faults into a pod at the moment, for Server to read. It
// runs in the Chaos Mesh daemon of the pod's node and gets the pod's UID. Each container has
// mounts of its own.
const ServerScript = `
uid=$1; alt=$(echo "$uid" | tr - _); found=
for d in /proc/[0-9]*; do
  grep -qs -e "$uid" -e "$alt" "$d/cgroup" && cat "$d/mountinfo" 2>/dev/null && found=1
done
[ -n "$found" ] || { echo "no process of pod $uid on this node" >&2; exit 1; }
echo "== end"
`

// Server reads what ServerScript printed. A mount is proof enough: it ends with its server, or moves
// back what is on it.
func Server(out string) (string, error) {
	text, _, whole := strings.Cut(out, "== end\n")
	mounts, err := parseMounts(text)
	if err == nil && (!whole || len(mounts) == 0) {
		err = fmt.Errorf("the answer is cut short: %q", out)
	}
	if err != nil {
		return "", fmt.Errorf("who injects faults: %w", err)
	}
	server := Nobody
	for _, m := range mounts {
		switch {
		case m.source == Source && m.fsType == FSType:
			return StandIn, nil
		case m.source == "toda" && strings.HasPrefix(m.fsType, "fuse"):
			server = Toda
		}
	}
	return server, nil
}
