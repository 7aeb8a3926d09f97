package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What a run needs of the machine, beside disk space. Estimates with room to spare: three nodes with a systemd, containerd and
// kubelet each, and the linkers of Kubernetes, which are the largest processes of a build.
const (
	// MinMemory is the memory that must be available, in bytes.
	MinMemory = 4 << 30
	// minInotifyInstances and minInotifyWatches are what root, whose processes are those of the nodes, must have left.
	minInotifyInstances = 64
	minInotifyWatches   = 8192
)

// CheckMachine returns an error that wraps ErrMissing and has a line for each thing that a run lacks here, with what
// mends it. What needs root to find out is left out without.
func CheckMachine() error {
	r, err := read("/proc", "/sys/fs/cgroup")
	if err != nil {
		return err
	}
	errs := []error{r.check(), checkPorts()}
	if os.Geteuid() == 0 {
		errs = append(errs, checkNetwork(probeLinks(), probeTables))
	}
	return errors.Join(errs...)
}

// readings are what the kernel says of the machine.
type readings struct {
	memory      uint64 // available, in bytes
	instances   uint64 // inotify's limit for each user
	inUse       uint64 // inotify instances of root
	watches     uint64
	overlay     bool
	controllers []string // of control groups
}

// read takes the readings from a proc(5) file system, and from where control groups are mounted.
func read(proc, groups string) (readings, error) {
	var r readings
	info, err := os.ReadFile(filepath.Join(proc, "meminfo"))
	if err != nil {
		return r, err
	}
	for line := range strings.Lines(string(info)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			if _, err := fmt.Sscanf(rest, "%d kB", &r.memory); err != nil {
				return r, fmt.Errorf("meminfo: %q: %w", line, err)
			}
			r.memory <<= 10
		}
	}
	for file, value := range map[string]*uint64{"max_user_instances": &r.instances, "max_user_watches": &r.watches} {
		b, err := os.ReadFile(filepath.Join(proc, "sys/fs/inotify", file))
		if err == nil {
			*value, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		}
		if err != nil {
			return r, fmt.Errorf("inotify: %w", err)
		}
	}
	if r.inUse, err = inotifyInUse(proc); err != nil {
		return r, err
	}
	systems, err := os.ReadFile(filepath.Join(proc, "filesystems"))
	if err != nil {
		return r, err
	}
	r.overlay = slices.Contains(strings.Fields(string(systems)), "overlay")
	v1, err := os.ReadFile(filepath.Join(proc, "cgroups"))
	if err != nil {
		return r, err
	}
	for line := range strings.Lines(string(v1)) { // name, hierarchy, number, enabled
		if f := strings.Fields(line); len(f) == 4 && f[3] == "1" {
			r.controllers = append(r.controllers, f[0])
		}
	}
	// From Linux 6.11 on that file leaves out those that the kernel has in version 2 alone.
	v2, err := os.ReadFile(filepath.Join(groups, "cgroup.controllers"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return r, err
	}
	r.controllers = append(r.controllers, strings.Fields(string(v2))...)
	return r, nil
}

// inotifyInUse counts root's inotify instances. A process that ends meanwhile counts as none.
func inotifyInUse(proc string) (n uint64, err error) {
	processes, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	for _, p := range processes {
		var s unix.Stat_t
		if unix.Stat(p, &s) != nil || s.Uid != 0 {
			continue
		}
		open, err := os.ReadDir(filepath.Join(p, "fd"))
		if err != nil {
			continue
		}
		for _, fd := range open {
			if target, err := os.Readlink(filepath.Join(p, "fd", fd.Name())); err == nil && strings.Contains(target, "inotify") {
				n++
			}
		}
	}
	return n, err
}

func (r readings) check() error {
	var errs []error
	lacks := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", ErrMissing, fmt.Sprintf(format, args...)))
	}
	if r.memory < MinMemory {
		lacks("%.1f GiB of memory are available, %d GiB are needed: end what is not needed, or add some", float64(r.memory)/(1<<30), MinMemory>>30)
	}
	if r.instances < r.inUse+minInotifyInstances {
		lacks("fs.inotify.max_user_instances is %d, of which root uses %d, and the cluster needs %d: sysctl -w fs.inotify.max_user_instances=%d",
			r.instances, r.inUse, minInotifyInstances, max(512, r.inUse+2*minInotifyInstances))
	}
	if r.watches < minInotifyWatches {
		lacks("fs.inotify.max_user_watches is %d, %d are needed: sysctl -w fs.inotify.max_user_watches=524288", r.watches, minInotifyWatches)
	}
	if !r.overlay {
		lacks("the kernel has no overlay file system (CONFIG_OVERLAY_FS): modprobe overlay")
	}
	for _, c := range []string{"cpu", "cpuset", "memory", "pids"} {
		if !slices.Contains(r.controllers, c) {
			lacks("the kernel's control groups cannot limit %s: boot it without cgroup_disable=%s, or with cgroup_enable=%s", c, c, c)
		}
	}
	return errors.Join(errs...)
}

// checkPorts sees whether the API server's port can be opened, which is any free one of loopback.
func checkPorts() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("%w: no port of 127.0.0.1 can be opened (%w): ip link set lo up, and see net.ipv4.ip_local_port_range", ErrMissing, err)
	}
	return l.Close()
}

// probeLinks are of the kinds of interfaces that the engine makes. They are new each time: making one changes it.
func probeLinks() []netlink.Link {
	return []netlink.Link{
		&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "probe-br"}},
		&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "probe-a"}, PeerName: "probe-b"},
	}
}

// probeTables are the firewall tables that the engine, kube-proxy and Chaos Mesh write to.
var probeTables = []string{"filter", "nat", "mangle"}

// checkNetwork makes what the engine will make, in a network namespace that goes with its thread.
func checkNetwork(links []netlink.Link, tables []string) error {
	found := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, and with it the namespace, ends here
		found <- probeNetwork(links, tables)
	}()
	return <-found
}

func probeNetwork(links []netlink.Link, tables []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("%w: no network namespace can be made (%w): the kernel needs CONFIG_NET_NS, and this process CAP_SYS_ADMIN", ErrMissing, err)
	}
	var errs []error
	for _, link := range links {
		if err := netlink.LinkAdd(link); err != nil {
			errs = append(errs, fmt.Errorf("%w: no %s can be made (%w): modprobe %s", ErrMissing, link.Type(), err, link.Type()))
		}
	}
	// The nodes cannot load modules. Chaos Mesh's iptables needs these, and the kernel brings in the rest.
	// A kernel that has them built in, or has them no more, needs none.
	if modprobe, err := exec.LookPath("modprobe"); err == nil {
		_ = exec.Command(modprobe, "-q", "-a", "ip_tables", "ip6_tables").Run()
	}
	iptables, err := exec.LookPath("iptables")
	if err != nil {
		return errors.Join(errs...) // a requirement of its own
	}
	for _, table := range tables {
		if out, err := exec.Command(iptables, "-w", "-t", table, "-S").CombinedOutput(); err != nil {
			said := strings.Join(strings.Fields(string(out)), " ") // in one line
			errs = append(errs, fmt.Errorf("%w: no firewall table %s (%s): modprobe -a nf_tables nft_compat iptable_%s", ErrMissing, table, said, table))
		}
	}
	return errors.Join(errs...)
}
