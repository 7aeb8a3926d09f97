package netem

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Who serves netem on a device.
const (
	Nobody    = "nobody"
	Kernel    = "sch_netem"
	Userspace = "userspace"
)

// ServerScript tells who serves netem in a pod at the moment, for Server to read. It
// runs in the Chaos Mesh daemon of the pod's node and gets the pod's UID.
const ServerScript = `
uid=$1; alt=$(echo "$uid" | tr - _)
for d in /proc/[0-9]*; do
  grep -qs -e "$uid" -e "$alt" "$d/cgroup" && pid=${d#/proc/} && break
done
[ -n "$pid" ] || { echo "no process of pod $uid on this node" >&2; exit 1; }
nsenter -t "$pid" -n -- tc qdisc show || exit 1
echo "== files"
cat ` + Directory + `/$(stat -L -c %i "/proc/$pid/ns/net")-*.json 2>/dev/null
echo "== end"
`

// Server reads what ServerScript printed. A file alone proves nothing: a stand-in
// that is killed leaves its own behind, but is not among the qdiscs.
func Server(out string) (string, error) {
	qdiscs, rest, _ := strings.Cut(out, "== files\n")
	files, _, whole := strings.Cut(rest, "== end\n")
	if !whole || !strings.Contains(qdiscs, "qdisc ") {
		return "", fmt.Errorf("who serves netem: the answer is cut short: %q", out)
	}
	if !strings.Contains("\n"+qdiscs, "\nqdisc netem ") {
		return Nobody, nil
	}
	for line := range strings.Lines(files) {
		var s State
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			return "", fmt.Errorf("who serves netem: file of the stand-in: %w", err)
		}
		if s.Error == "" && strings.Contains(qdiscs, " dev "+s.Device+" root ") {
			return s.Served, nil
		}
	}
	return Kernel, nil
}
