package fault

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// trying writes to a volume of a pod and flushes, some times, through the mount namespace of a process
// that has it: whatever lies over the volume there is asked, too. It prints a line each: the nanoseconds, and
// the error if there was one.
const trying = `
uid=$1; alt=$(echo "$uid" | tr - _); volume=%s; found=
for p in $(grep -ls -e "$uid" -e "$alt" /proc/[0-9]*/cgroup | cut -d/ -f3); do
  cut -d' ' -f5 "/proc/$p/mountinfo" 2>/dev/null | grep -qxF "$volume" && found=$p && break
done
[ -n "$found" ] || { echo "no process of pod $uid has a volume at $volume" >&2; exit 1; }
f=/proc/$found/root$volume/` + triedFile + `
for i in $(seq %d); do
  began=$(date +%%s%%N)
  why=$(LC_ALL=C timeout %d dd if=/dev/zero of="$f" bs=512 count=1 conv=fsync,notrunc 2>&1) && why= || why=${why:-"took too long"}
  echo "try $(($(date +%%s%%N) - began)) $(echo "$why" | head -n 1)"
done
rm -f "$f"
echo "== end"
`

// tryFor is how long one attempt may take.
const tryFor = 10 * time.Second

// Try is how a volume took to being written to and flushed.
type Try struct {
	Took  time.Duration
	Error string // empty: none
}

// TryDisk writes and flushes some bytes on a pod's volume, from outside the pod and through what
// lies over the volume in it, and removes them.
func TryDisk(ctx context.Context, c client.Client, x Execer, pod corev1.Pod, volume string, times int) ([]Try, error) {
	out, err := OnNodeOf(ctx, c, x, pod, fmt.Sprintf(trying, volume, times, int(tryFor.Seconds())))
	if err != nil {
		return nil, fmt.Errorf("try %s of pod %s: %w", volume, pod.Name, err)
	}
	tries, err := parseTries(out)
	if err == nil && len(tries) != times {
		err = fmt.Errorf("%d of %d attempts are told of: %q", len(tries), times, out)
	}
	return tries, err
}

func parseTries(out string) ([]Try, error) {
	text, _, whole := strings.Cut(out, "== end\n")
	if !whole {
		return nil, fmt.Errorf("the answer is cut short: %q", out)
	}
	var tries []Try
	for _, line := range lines(text) {
		fields := strings.SplitN(line, " ", 3)
		if len(fields) < 2 || fields[0] != "try" {
			return nil, fmt.Errorf("attempt %q", line)
		}
		ns, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("attempt %q: %w", line, err)
		}
		t := Try{Took: time.Duration(ns)}
		if len(fields) == 3 {
			t.Error = fields[2]
		}
		tries = append(tries, t)
	}
	return tries, nil
}

// clocks prints "fake" for a pod in which a process has a fake clock, and "true" otherwise.
const clocks = vdso + `
uid=$1; alt=$(echo "$uid" | tr - _); found= fake=
kernel=$(vdso $$) || { echo "the vDSO cannot be read" >&2; exit 1; }
for p in $(grep -ls -e "$uid" -e "$alt" /proc/[0-9]*/cgroup | cut -d/ -f3); do
  clock=$(vdso $p) || continue
  found=1
  altered "$kernel" "$clock" && fake=1
done
[ -n "$found" ] || { echo "no process of pod $uid on this node" >&2; exit 1; }
[ -n "$fake" ] && echo fake || echo true
`

// FakeClock reports whether a process in a pod has a clock that is not the kernel's: its vDSO, in
// which clocks are read without a system call, is another than everybody else's.
func FakeClock(ctx context.Context, c client.Client, x Execer, pod corev1.Pod) (bool, error) {
	out, err := OnNodeOf(ctx, c, x, pod, clocks)
	if err != nil {
		return false, fmt.Errorf("look at the clock of pod %s: %w", pod.Name, err)
	}
	switch out = strings.TrimSpace(out); out {
	case "fake", "true":
		return out == "fake", nil
	}
	return false, fmt.Errorf("the clock of pod %s is %q", pod.Name, out)
}
