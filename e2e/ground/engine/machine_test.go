package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// insideVariable tells a test that it runs in namespaces of its own.
const insideVariable = "ENGINE_TEST_INSIDE"

// inside runs the calling test again in mount and network namespaces of its own, where it may be the
// administrator, and returns false in the outer one when that is over.
func inside(t *testing.T) bool {
	t.Helper()
	needsEngine(t)
	if os.Getenv(insideVariable) == "" {
		name, _, _ := strings.Cut(t.Name(), "/")
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+name+"$", "-test.v", "-test.timeout", testTimeout.String())
		cmd.Env = append(os.Environ(), insideVariable+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
			t.Errorf("%v\n%s", err, out)
		}
		return false
	}
	return true
}

// administer gives the machine what an administrator may have: a firewall that drops, with a DOCKER-USER chain,
// and a configuration of Docker that would break ours.
func administer(t *testing.T) {
	t.Helper()
	for _, command := range []string{
		"ip link set lo up",
		"iptables -P FORWARD DROP", "iptables -P INPUT DROP", "iptables -A INPUT -i lo -j ACCEPT",
		"iptables -N DOCKER-USER", "iptables -A DOCKER-USER -s 192.0.2.0/24 -j DROP", "iptables -A DOCKER-USER -j RETURN", "iptables -A FORWARD -j DOCKER-USER",
		"iptables -t nat -N DOCKER", "iptables -t nat -A POSTROUTING -s 198.51.100.0/24 -j MASQUERADE",
		"ip6tables -P FORWARD DROP", "ip6tables -N DOCKER-USER", "ip6tables -A FORWARD -j DOCKER-USER",
		"mount -t tmpfs tmpfs /etc/docker",
	} {
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	if _, err := exec.LookPath("nft"); err == nil {
		if out, err := exec.Command("nft", "add table inet admin; add chain inet admin forward { type filter hook forward priority 0; policy drop; }").CombinedOutput(); err != nil {
			t.Fatalf("nft: %v\n%s", err, out)
		}
	}
	for file, text := range map[string]string{
		"/etc/docker/daemon.json":                     `{"userns-remap": "default", "hosts": ["tcp://127.0.0.1:1"], "no-such-option": 1}`,
		filepath.Join(clientConfig(t), "config.json"): `{"proxies": {"default": {"httpProxy": "http://proxy.invalid:1"}}}`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// clientConfig is a person's own configuration of the Docker client.
func clientConfig(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HTTP_PROXY", "http://proxy.invalid:2")
	return dir
}

// fleeting are the sysctls that count, or that the kernel moves by itself.
var fleeting = regexp.MustCompile(`^(fs\.(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota\.[a-z_]*)|kernel\.(random\..*|ns_last_pid|pty\.nr|perf_event_max_sample_rate|tainted)|net\.netfilter\.nf_conntrack_count) =`)

// machine is what of the machine must be as it was.
func machine(t *testing.T) map[string][]string {
	t.Helper()
	seen := map[string][]string{}
	// An engine of the suite's own may run beside this test: its mounts come and go. What iptables-save does not show are
	// tables that somebody made with nft itself.
	commands := map[string]string{
		"iptables":     `iptables-save | sed '/^#/d; s/\[[0-9:]*\]//'`,
		"ip6tables":    `ip6tables-save | sed '/^#/d; s/\[[0-9:]*\]//'`,
		"sysctls":      `sysctl -a 2>/dev/null`,
		"nft":          `nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'`,
		"interfaces":   `ip -o link | sed 's/\\.*//'`,
		"routes":       `ip route show table all; ip -6 route show table all | grep -v fe80`,
		"mounts":       `grep -v ' ` + StateDir + `/' /proc/self/mounts`,
		"users":        `cat /etc/passwd /etc/group /etc/subuid /etc/subgid`,
		"units":        `find /etc/systemd /lib/systemd /run/systemd -printf '%p %l\n' 2>/dev/null`,
		"files":        `find /etc /opt /usr/sbin /usr/local -printf '%p %m %s %t\n'; find /run/containerd /run/docker /run/runc -maxdepth 1 -printf '%p %M %n %u %g\n' 2>&1`,
		"groups":       `ls -d /sys/fs/cgroup/*/docker /sys/fs/cgroup/docker /sys/fs/cgroup/*/` + cgroupName + ` /sys/fs/cgroup/` + cgroupName + ` 2>/dev/null`,
		"capabilities": `grep Cap /proc/self/status`,
	}
	for what, command := range commands {
		out, _ := exec.Command("sh", "-c", command+"; true").Output()
		for line := range strings.Lines(string(out)) {
			if !fleeting.MatchString(line) {
				seen[what] = append(seen[what], strings.TrimSpace(line))
			}
		}
		slices.Sort(seen[what])
	}
	return seen
}

// compare reports what differs between two looks at the machine.
func compare(t *testing.T, when string, before, after map[string][]string) {
	t.Helper()
	for what := range before {
		for _, line := range before[what] {
			if !slices.Contains(after[what], line) {
				t.Errorf("%s: %s lost: %s", when, what, line)
			}
		}
		for _, line := range after[what] {
			if !slices.Contains(before[what], line) {
				t.Errorf("%s: %s came: %s", when, what, line)
			}
		}
	}
}

func TestMachineIsLeftAsFound(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		skip(t, "nft is not installed: make deps")
	}
	if !inside(t) {
		return
	}
	administer(t)
	for name, end := range map[string]func(ctx context.Context) error{
		"stopped": Stop,
		"killed, then cleaned up": func(ctx context.Context) error {
			if err := unix.Kill(enclosurePID(t), unix.SIGKILL); err != nil {
				return err
			}
			return Reset(ctx)
		},
		"dockerd killed, then cleaned up": func(ctx context.Context) error {
			pid := enclosurePID(t)
			out, err := exec.Command("pgrep", "--ns", fmt.Sprint(pid), "--nslist", "pid", "-x", "dockerd").Output()
			if err != nil {
				return err
			}
			dockerd, err := strconv.Atoi(strings.TrimSpace(string(out)))
			if err != nil {
				return err
			}
			if err := unix.Kill(dockerd, unix.SIGKILL); err != nil {
				return err
			}
			for running() {
				time.Sleep(poll)
			}
			return Reset(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ownDirs(t)
			before := machine(t)
			if !slices.Contains(before["nft"], "table inet admin {") {
				t.Errorf("nft does not show the administrator's table: that it stays is not tested here: %q", before["nft"])
			}
			e := startEngine(t)
			if answer := use(t, e); strings.Contains(answer, "proxy.invalid") {
				t.Errorf("a container was given this person's proxies:\n%s", answer)
			}
			during := machine(t)
			for what := range before { // these are recorded, the rest is never touched
				if what != "sysctls" && what != "groups" {
					compare(t, "while it runs", map[string][]string{what: before[what]}, map[string][]string{what: during[what]})
				}
			}
			if slices.Equal(before["sysctls"], during["sysctls"]) {
				t.Error("the container changed no sysctl: that they are put back is not tested here")
			}
			if slices.Equal(before["groups"], during["groups"]) {
				t.Error("there is no control group of ours: that it is removed is not tested here")
			}
			processes := inEnclosure(t, enclosurePID(t))
			if len(processes) < 3 { // init, dockerd, containerd
				t.Errorf("in the enclosure run %q", processes)
			}
			pid := enclosurePID(t)
			if err := end(t.Context()); err != nil {
				t.Fatal(err)
			}
			compare(t, "afterwards", before, machine(t))
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
				t.Error("the enclosure is still there")
			}
			if _, err := os.Stat(runDir); err == nil {
				t.Errorf("%s is still there", runDir)
			}
		})
	}
}

func TestPublishedPortOfSomebodyElseIsRefused(t *testing.T) {
	if !inside(t) {
		return
	}
	administer(t)
	ownDirs(t)
	e := startEngine(t)
	serverImage(t, e)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	must(t, e, "network", "create", "test")
	_, err = e.Command(t.Context(), "run", "--detach", "--name", "tcp", "--network", "test", "--publish", taken.Addr().String()+":80", "test/server").CombinedOutput()
	if err == nil {
		t.Error("a port of the machine that is taken was published all the same")
	}
	port := freePort(t)
	must(t, e, "run", "--detach", "--name", "first", "--network", "test", "--publish", "127.0.0.1:"+port+":80", "test/server")
	must(t, e, "rm", "--force", "first")
	again, err := net.Listen("tcp4", "127.0.0.1:"+port) // it is given back with its container
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}
