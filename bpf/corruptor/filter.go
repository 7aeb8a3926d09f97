package corruptor

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What our filter is found by, and nobody else's.
const (
	filterName     = "x0tta6bl4-corruptor"
	filterHandle   = 0x6970
	filterPriority = 1 // before those that could let a packet go without us
)

// filter attaches a program by a filter of a clsact qdisc, for kernels without tcx.
//
// A filter outlives its process. So its program only calls the one that corrupts, by a table of programs, and the
// kernel empties such a table when the last descriptor of it is closed: what a process leaves that
// is killed does nothing. It goes when the next one begins. That its owner is dead is known by a socket,
// whose name in the network namespace is free then.
type filter struct {
	alive net.Listener
	route *netlink.Handle // of the network namespace, whichever a thread is in later
	table *ebpf.Map
	index int
	made  bool // the qdisc is ours
}

// attachFilter attaches a program to the egress of an interface, in the caller's network namespace.
func attachFilter(program *ebpf.Program, iface *net.Interface) (*filter, error) {
	alive, err := net.Listen("unix", "@"+filterName+"-"+iface.Name)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, errors.New("another process has one there, and lives")
	}
	if err != nil {
		return nil, err
	}
	f := &filter{alive: alive, index: iface.Index}
	if err := f.attach(program); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *filter) attach(program *ebpf.Program) (err error) {
	if f.route, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	left, others, err := f.remove()
	if err != nil {
		return err
	}
	switch err := f.route.QdiscAdd(f.qdisc()); {
	case err == nil:
		f.made = true
	case errors.Is(err, unix.EEXIST):
		if err := f.isClsact(); err != nil {
			return err
		}
		f.made = left && others == 0 // with the filter that we found in it
	default:
		return fmt.Errorf("add the qdisc (CONFIG_NET_SCH_INGRESS): %w", err)
	}
	f.table, err = ebpf.NewMap(&ebpf.MapSpec{Name: "corrupt_table", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return err
	}
	if err := f.table.Put(uint32(0), program); err != nil {
		return err
	}
	caller, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "corrupt_caller", Type: ebpf.SchedCLS, License: "Dual MIT/GPL",
		Instructions: asm.Instructions{
			asm.LoadMapPtr(asm.R2, f.table.FD()), // the packet is in R1
			asm.Mov.Imm(asm.R3, 0),
			asm.FnTailCall.Call(),   // comes back only if the table is empty
			asm.Mov.Imm(asm.R0, -1), // TC_ACT_UNSPEC: as if the filter were not there
			asm.Return(),
		},
	})
	if err != nil {
		return err
	}
	err = f.route.FilterAdd(f.filter(caller.FD()))
	switch {
	case errors.Is(err, unix.EINVAL):
		err = fmt.Errorf("add the filter (is there another one of priority %d?): %w", filterPriority, err)
	case err != nil:
		err = fmt.Errorf("add the filter (CONFIG_NET_CLS_BPF): %w", err)
	}
	return errors.Join(err, caller.Close()) // the filter keeps it
}

func (f *filter) link() netlink.Link {
	return &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: f.index}}
}

func (f *filter) qdisc() netlink.Qdisc {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: f.index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

// filter describes ours, with its program by descriptor, or -1 where that does not matter.
func (f *filter) filter(program int) netlink.Filter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: f.index, Parent: netlink.HANDLE_MIN_EGRESS,
			Handle: filterHandle, Priority: filterPriority, Protocol: unix.ETH_P_ALL,
		},
		Fd: program, Name: filterName, DirectAction: true,
	}
}

// isClsact sees that the qdisc which is there has an egress.
func (f *filter) isClsact() error {
	all, err := f.route.QdiscList(f.link())
	for _, q := range all {
		if q.Attrs().Parent == netlink.HANDLE_CLSACT && q.Type() != "clsact" {
			return fmt.Errorf("there is a qdisc %s, which has no egress, in its place", q.Type())
		}
	}
	return err
}

// remove removes our filter, if it is there, and tells whether it was, and how many there are of others.
func (f *filter) remove() (ours bool, others int, err error) {
	for _, side := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		all, err := f.route.FilterList(f.link(), side)
		if err != nil {
			return ours, others, err
		}
		for _, one := range all {
			b, ok := one.(*netlink.BpfFilter)
			if !ok || side != netlink.HANDLE_MIN_EGRESS || b.Name != filterName || b.Handle != filterHandle || b.Priority != filterPriority {
				others++
				continue
			}
			if err := f.route.FilterDel(f.filter(-1)); err != nil {
				return ours, others, fmt.Errorf("remove the filter: %w", err)
			}
			ours = true
		}
	}
	return ours, others, nil
}

// Close removes the filter, and the qdisc if it is ours and holds nothing of others.
func (f *filter) Close() error {
	var errs []error
	if f.table != nil {
		errs = append(errs, f.table.Close())
	}
	if f.route != nil {
		_, others, err := f.remove()
		if err == nil && f.made && others == 0 {
			err = f.route.QdiscDel(f.qdisc())
			if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) { // it went with its interface, or by somebody else
				err = nil
			}
		}
		errs = append(errs, err)
		f.route.Close()
	}
	return errors.Join(append(errs, f.alive.Close())...)
}
