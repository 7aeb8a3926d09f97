package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// daemonHere returns a client that knows a daemon, and a pod with this UID on its node.
func daemonHere(uid string) (client.Client, corev1.Pod) {
	daemon := pod("chaos-mesh", "chaos-daemon", "app.kubernetes.io/component", "chaos-daemon")
	daemon.Spec = corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "chaos-daemon"}}}
	return fake.NewClientBuilder().WithObjects(&daemon).Build(),
		corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a-0", UID: types.UID(uid)}, Spec: corev1.PodSpec{NodeName: "n1"}}
}

// podProcess returns the process of a fakePod.
func podProcess(t *testing.T, uid string) string {
	t.Helper()
	for _, group := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		b, err := os.ReadFile(filepath.Join(group, "pod"+uid, "cgroup.procs"))
		if err == nil {
			return strings.Fields(string(b))[0]
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Fatal("the pod has no process")
	return ""
}

// TestTryDisk writes to a volume that only the pod sees, with room and without.
func TestTryDisk(t *testing.T) {
	for name, c := range map[string]struct{ uid, size, fill, want string }{
		"sound": {"3f0c8a52-0c5f-4a57-9d5a-2b6d1c0e9f21", "1m", "0", ""},
		"full":  {"3f0c8a52-0c5f-4a57-9d5a-2b6d1c0e9f22", "16k", "16384", "No space left on device"},
	} {
		t.Run(name, func(t *testing.T) {
			volume := t.TempDir()
			fakePod(t, c.uid, fmt.Sprintf(`exec unshare -m sh -c 'set -e; mount -t tmpfs -o size=%s none %s; head -c %s /dev/zero > %s/filler%s'`, c.size, volume, c.fill, volume, idle))
			k, p := daemonHere(c.uid)
			tries, err := TryDisk(t.Context(), k, here{}, p, volume, 3)
			if err != nil || len(tries) != 3 {
				t.Fatalf("%v, %v", tries, err)
			}
			for _, try := range tries {
				if try.Took <= 0 || (c.want == "") != (try.Error == "") || !strings.Contains(try.Error, c.want) {
					t.Errorf("%+v", try)
				}
			}
			left, err := os.ReadDir(filepath.Join("/proc", podProcess(t, c.uid), "root", volume))
			if err != nil || len(left) != 1 || left[0].Name() != "filler" {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if _, err := TryDisk(t.Context(), k, here{}, p, volume+"/elsewhere", 1); err == nil || !strings.Contains(err.Error(), "has a volume at") {
				t.Errorf("a volume that is not there: %v", err)
			}
		})
	}
}

func TestParseTries(t *testing.T) {
	got, err := parseTries("try 1500000000 dd: error writing 'x': Input/output error\ntry 2000 \n== end\n")
	if err != nil || len(got) != 2 || got[0].Took.Milliseconds() != 1500 || !strings.Contains(got[0].Error, "Input/output") || got[1].Error != "" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, out := range []string{"", "try 1\n", "try one\n== end\n", "tried 1\n== end\n"} {
		if got, err := parseTries(out); err == nil {
			t.Errorf("%q: %v", out, got)
		}
	}
}

// TestFakeClockIsFound changes a process's vDSO, as TimeChaos does, and puts it back.
func TestFakeClockIsFound(t *testing.T) {
	const uid = "3f0c8a52-0c5f-4a57-9d5a-2b6d1c0e9f23"
	fakePod(t, uid, "ip link set lo up"+idle)
	k, p := daemonHere(uid)
	look := func() (bool, []string) {
		t.Helper()
		faked, err := FakeClock(t.Context(), k, here{}, p)
		if err != nil {
			t.Fatal(err)
		}
		state, err := lookHere(t, uid)
		if err != nil {
			t.Fatal(err)
		}
		return faked, state.Altered
	}
	if faked, residue := look(); faked || strings.Contains(strings.Join(residue, " "), "clock") {
		t.Fatalf("nothing was changed: %v, %v", faked, residue)
	}
	pid := podProcess(t, uid)
	maps, err := os.ReadFile(filepath.Join("/proc", pid, "maps"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^([0-9a-f]+)-.*\[vdso\]$`).FindSubmatch(maps)
	if m == nil {
		unable(t, "needs a vDSO")
	}
	at, err := strconv.ParseInt(string(m[1]), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.OpenFile(filepath.Join("/proc", pid, "mem"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	const place = 0x800 // anywhere in it
	was := make([]byte, 1)
	if _, err := mem.ReadAt(was, at+place); err != nil {
		t.Fatal(err)
	}
	if _, err := mem.WriteAt([]byte{was[0] ^ 0xff}, at+place); err != nil {
		t.Fatal(err)
	}
	if faked, residue := look(); !faked || !strings.Contains(strings.Join(residue, " "), "has a fake clock") {
		t.Errorf("it was changed: %v, %v", faked, residue)
	}
	for what, b := range map[string][]byte{"put back": was, "put back, with a zero too many": {0}} {
		if _, err := mem.WriteAt(b, at+place); err != nil {
			t.Fatal(err)
		}
		if faked, residue := look(); faked || strings.Contains(strings.Join(residue, " "), "clock") {
			t.Errorf("it was %s: %v, %v", what, faked, residue)
		}
	}
}

// TestTheStoreIsOnItsVolume ties what faults of disks aim at to what is deployed.
func TestTheStoreIsOnItsVolume(t *testing.T) {
	for _, m := range nodeTemplate(t).Containers[0].VolumeMounts {
		if m.Name == "data" && m.MountPath == StoreVolume {
			return
		}
	}
	t.Errorf("no volume data is mounted at %s", StoreVolume)
}
