package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// unable ends a test that needs more than it has: skipped for a person, failed in CI.
func unable(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func TestCheckMachineHere(t *testing.T) {
	// Where these tests run, the suite runs.
	if err := CheckMachine(); err != nil {
		t.Error(err)
	}
}

func TestWhatTheMachineLacksIsNamedWithItsSetting(t *testing.T) {
	enough := readings{memory: MinMemory, instances: 128, inUse: 60, watches: minInotifyWatches, overlay: true,
		controllers: []string{"cpu", "cpuset", "memory", "pids"}}
	if err := enough.check(); err != nil {
		t.Errorf("enough of everything: %v", err)
	}
	for want, lacking := range map[string]func(*readings){
		"GiB of memory are available":                  func(r *readings) { r.memory-- },
		"sysctl -w fs.inotify.max_user_instances=512":  func(r *readings) { r.inUse = 65 },
		"sysctl -w fs.inotify.max_user_instances=628":  func(r *readings) { r.instances, r.inUse = 512, 500 },
		"sysctl -w fs.inotify.max_user_watches=524288": func(r *readings) { r.watches-- },
		"modprobe overlay":                             func(r *readings) { r.overlay = false },
		"cgroup_enable=memory":                         func(r *readings) { r.controllers = []string{"cpu", "cpuset", "pids"} },
	} {
		r := enough
		lacking(&r)
		if err := r.check(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// All at once, a line each.
	if err := (readings{}).check(); strings.Count(err.Error(), "\n") != 7 {
		t.Errorf("an empty machine: %v", err)
	}
}

func TestWhatTheNetworkLacksIsNamedInALineEach(t *testing.T) {
	if os.Geteuid() != 0 {
		unable(t, "a network namespace needs root")
	}
	if _, err := exec.LookPath("iptables"); err != nil {
		unable(t, "iptables is not installed")
	}
	link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: "probe-none"}, LinkType: "nosuchlink"}
	err := checkNetwork([]netlink.Link{link}, []string{"filter", "nosuchtable"})
	if !errors.Is(err, ErrMissing) || strings.Count(err.Error(), "\n") != 1 {
		t.Fatalf("%v, want two lines: for the link, and for the table", err)
	}
	for _, want := range []string{"no nosuchlink can be made", ": modprobe nosuchlink", "no firewall table nosuchtable", ": modprobe -a nf_tables nft_compat iptable_nosuchtable"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestReadings(t *testing.T) {
	proc, groups := t.TempDir(), t.TempDir()
	for file, text := range map[string]string{
		"meminfo":                           "MemTotal:       24684084 kB\nMemFree:  1 kB\nMemAvailable:    5242880 kB\n",
		"sys/fs/inotify/max_user_instances": "128\n",
		"sys/fs/inotify/max_user_watches":   "200000\n",
		"filesystems":                       "nodev\tsysfs\n\text4\nnodev\toverlay\n",
		"cgroups":                           "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t2\t1\nmemory\t0\t2\t0\n",
		"1/status":                          "",
	} {
		path := filepath.Join(proc, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(proc, "1/fd"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, target := range []string{"/dev/null", "anon_inode:inotify", "anon_inode:[eventpoll]"} {
		if err := os.Symlink(target, filepath.Join(proc, "1/fd", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	r, err := read(proc, groups)
	if err != nil {
		t.Fatal(err)
	}
	wantInUse := uint64(0)
	if os.Geteuid() == 0 { // whose the files are
		wantInUse = 1
	}
	if r.memory != 5<<30 || r.instances != 128 || r.inUse != wantInUse || r.watches != 200000 || !r.overlay || fmt.Sprint(r.controllers) != "[cpu]" {
		t.Errorf("readings %+v", r)
	}
	if _, err := read(t.TempDir(), groups); err == nil {
		t.Error("no proc file system, and no error")
	}
	// A kernel that has memory and cpuset in version 2 alone.
	if err := errors.Join(
		os.WriteFile(filepath.Join(proc, "cgroups"), []byte("#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t2\t1\npids\t0\t2\t1\n"), 0o600),
		os.WriteFile(filepath.Join(groups, "cgroup.controllers"), []byte("cpuset cpu memory pids\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	if r, err := read(proc, groups); err != nil || r.check() != nil {
		t.Errorf("with control groups of version 2: %v, %v", err, r.check())
	}
}
