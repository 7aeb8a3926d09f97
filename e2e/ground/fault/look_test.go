package fault

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/x0tta6bl4/mesh/bpf/corruptor"
	"github.com/x0tta6bl4/mesh/e2e/ground/host"
)

// here is an Execer that runs the command on this machine, as the Chaos Mesh
// daemon does on its node.
type here struct{}

func (here) ExecInPod(ctx context.Context, _, _, _ string, command []string, stdout, stderr *bytes.Buffer) error {
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stdout, c.Stderr = stdout, stderr
	return c.Run()
}

// unable ends a test that needs more than it has: skipped for a person, failed
// in CI, where nothing may go unnoticed.
func unable(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// idle ends a script for fakePod.
const idle = "\necho ready; exec sleep 600"

// podCores is what a fakePod may use of the CPUs where control groups of version 2 are mounted.
const podCores = 0.5

// limited tells whether fakePods have limits, as containers have. In the kernel test's machine they do.
func limited(t *testing.T) bool {
	t.Helper()
	b, err := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control")
	enabled := strings.Fields(string(b))
	yes := err == nil && slices.Contains(enabled, "cpu") && slices.Contains(enabled, "memory")
	if !yes && os.Getenv("KERNEL_TEST") != "" {
		t.Fatalf("groups limit %q only: %v", enabled, err)
	}
	return yes
}

// fakePod runs a script in a network namespace of its own, until the test ends, and
// in a cgroup that is named like a pod's from when it says "ready". See limited.
func fakePod(t *testing.T, uid, script string) {
	t.Helper()
	if os.Geteuid() != 0 {
		unable(t, "needs root for a network namespace")
	}
	for _, tool := range []string{"unshare", "nsenter", "iptables-legacy", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			unable(t, "needs "+tool)
		}
	}
	group := "/sys/fs/cgroup/pids" // v1
	if _, err := os.Stat(group); err != nil {
		group = "/sys/fs/cgroup"
	}
	group = filepath.Join(group, "pod"+uid)
	if err := os.Mkdir(group, 0o755); err != nil {
		unable(t, "needs a cgroup of its own: "+err.Error())
	}
	if limited(t) {
		for file, limit := range map[string]string{"cpu.max": fmt.Sprintf("%d 100000", int(podCores*100000)), "memory.max": "268435456"} {
			if err := os.WriteFile(filepath.Join(group, file), []byte(limit), 0); err != nil {
				_ = os.Remove(group) // nothing is in it yet
				t.Fatal(err)
			}
		}
	}
	c := exec.Command("unshare", "-n", "sh", "-c", script)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = c.Wait() // it was killed
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the pod's script: %q, %v", line, err)
	}
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(c.Process.Pid)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func lookHere(t *testing.T, uid string) (NetState, error) {
	t.Helper()
	daemon := pod("chaos-mesh", "chaos-daemon", "app.kubernetes.io/component", "chaos-daemon")
	daemon.Spec = corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "chaos-daemon"}}}
	c := fake.NewClientBuilder().WithObjects(&daemon).Build()
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a-0", UID: types.UID(uid)}, Spec: corev1.PodSpec{NodeName: "n1"}}
	states, err := Look(t.Context(), c, here{}, []corev1.Pod{p})
	return states["a-0"], err
}

func TestLookFindsRulesAndQdiscs(t *testing.T) {
	const uid = "3f0c8a52-0c5f-4a57-9d5a-2b6d1c0e9f11"
	fakePod(t, uid, `set -e
ip link set lo up
iptables-legacy -N CHAOS-INPUT
iptables-legacy -A INPUT -j CHAOS-INPUT
iptables-legacy -A CHAOS-INPUT -s 192.0.2.1 -j DROP
tc qdisc add dev lo root tbf rate 1mbit burst 10kb latency 10ms`+idle)
	s, err := lookHere(t, uid)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Rules) != 1 || !strings.Contains(s.Rules[0], "192.0.2.1") {
		t.Errorf("rules %q", s.Rules)
	}
	if !strings.Contains(strings.Join(s.Qdiscs, "\n"), "tbf") {
		t.Errorf("qdiscs %q", s.Qdiscs)
	}
}

// holdVariable makes the test binary hold a program at the egress, attached in this mode, until it is killed.
const holdVariable = "FAULT_TEST_HOLDS_A_PROGRAM"

// held keeps the program from the garbage collector.
var held *corruptor.Corruptor

func TestMain(m *testing.M) {
	mode := os.Getenv(holdVariable)
	if mode == "" {
		os.Exit(m.Run())
	}
	var err error
	if held, err = corruptor.Open(corruptor.Config{Interface: "lo", Mode: mode, Mask: 1, Rate: 1}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	if err := syscall.Pause(); err != nil {
		os.Exit(1)
	}
}

func TestLookFindsProgramsAtEgress(t *testing.T) {
	for mode, want := range map[string]struct{ uid, program string }{
		corruptor.ModeTCX:    {"3f0c8a52-0c5f-4a57-9d5a-2b6d1c0e9f12", "tcx egress program held by"},
		corruptor.ModeClsact: {"3f0c8a52-0c5f-4a57-9d5a-2b6d1c0e9f13", "clsact egress filter on lo: handle 0x6970 x0tta6bl4-corruptor"},
	} {
		t.Run(mode, func(t *testing.T) {
			var u unix.Utsname
			if err := unix.Uname(&u); err != nil {
				t.Fatal(err)
			}
			if mode == corruptor.ModeTCX && !host.HasTCX(unix.ByteSliceToString(u.Release[:])) {
				t.Skip("tcx needs Linux 6.6")
			}
			t.Setenv(holdVariable, mode)
			fakePod(t, want.uid, "ip link set lo up && exec "+os.Args[0])
			s, err := lookHere(t, want.uid)
			if err != nil || len(s.Programs) != 1 || !strings.HasPrefix(s.Programs[0], want.program) {
				t.Fatalf("programs %q, error %v", s.Programs, err)
			}
		})
	}
}

// TestLookFindsFiltersOfNobody: a filter stays where no process of the pod knows of it.
func TestLookFindsFiltersOfNobody(t *testing.T) {
	const uid = "3f0c8a52-0c5f-4a57-9d5a-2b6d1c0e9f14"
	fakePod(t, uid, `set -e
ip link set lo up
tc qdisc add dev lo clsact
tc filter add dev lo egress bpf bytecode '1,6 0 0 0,'
tc filter add dev lo ingress bpf bytecode '1,6 0 0 0,'`+idle)
	s, err := lookHere(t, uid)
	if err != nil || len(s.Programs) != 2 || !strings.HasPrefix(s.Programs[0], "clsact ingress filter on lo: ") || !strings.HasPrefix(s.Programs[1], "clsact egress filter on lo: ") {
		t.Fatalf("programs %q, error %v", s.Programs, err)
	}
	if qdiscs := strings.Join(s.Qdiscs, "\n"); !strings.Contains(qdiscs, "qdisc clsact") {
		t.Errorf("qdiscs %q", qdiscs)
	}
}

func TestLookIntoAPodThatIsNotThere(t *testing.T) {
	if _, err := lookHere(t, "00000000-dead-4bad-8bad-000000000000"); err == nil || !strings.Contains(err.Error(), "no process of pod") {
		t.Fatalf("got %v", err)
	}
}
