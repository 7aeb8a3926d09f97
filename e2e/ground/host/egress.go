package host

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NotSupported returns a line for each scenario that this kernel cannot run, while it can the others, with what mends it. It makes
// a network namespace to find that out: without root there is no line.
func NotSupported() []string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil || os.Geteuid() != 0 {
		return nil
	}
	return notSupported(unix.ByteSliceToString(u.Release[:]), func() error {
		return checkEgress(&netlink.Clsact{}, &netlink.BpfFilter{Fd: noProgram, Name: "probe"})
	})
}

func notSupported(release string, egress func() error) (lines []string) {
	if HasTCX(release) {
		return nil
	}
	if err := egress(); err != nil {
		lines = append(lines, Egress("this kernel", err.Error()))
	}
	return lines
}

// Egress says that a machine's kernel has nowhere to attach what the scenario pqc-corrupt needs.
func Egress(machine, why string) string {
	return fmt.Sprintf("pqc-corrupt is not supported: %s has no tcx (Linux 6.6) and no filters with eBPF in its place (%s)", machine, why)
}

// noProgram is no descriptor of a program: a kernel that has the kind of filter says so, and one that has not knows no such kind.
const noProgram = 1 << 30

// checkEgress sees whether the kernel has a qdisc and a filter of such kinds, in a network namespace that goes with its thread.
func checkEgress(qdisc netlink.Qdisc, filter netlink.Filter) error {
	found := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, and with it the namespace, ends here
		found <- probeEgress(qdisc, filter)
	}()
	return <-found
}

func probeEgress(qdisc netlink.Qdisc, filter netlink.Filter) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("no network namespace can be made: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	*qdisc.Attrs() = netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
	if err := netlink.QdiscAdd(qdisc); err != nil {
		return fmt.Errorf("no qdisc %s: %w: modprobe sch_ingress", qdisc.Type(), err)
	}
	*filter.Attrs() = netlink.FilterAttrs{LinkIndex: lo.Attrs().Index, Parent: netlink.HANDLE_MIN_EGRESS, Priority: 1, Protocol: unix.ETH_P_ALL}
	if err := netlink.FilterAdd(filter); errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("no filter %s: %w: modprobe cls_%s", filter.Type(), err, filter.Type())
	}
	return nil
}
