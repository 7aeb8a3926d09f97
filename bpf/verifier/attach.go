package verifier

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// The ways in which the program is attached.
const (
	ModeXDPNative  = "xdp-native"  // in the interface's driver
	ModeXDPGeneric = "xdp-generic" // in the kernel's receive path, before anything else
	ModeTCX        = "tcx"         // at tcx ingress, Linux 6.6
)

// attachment is the link between the program and the interface. It is made by
// BPF link, so that it ends with the process, however that ends.
type attachment struct {
	mu      sync.Mutex
	link    link.Link // nil while detached
	mode    string
	ifindex int
}

// Mode says how the program is or was last attached: one of the Mode constants.
func (v *Verifier) Mode() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mode
}

// Healthy returns nil while the program is attached to the interface, and
// otherwise an error that names the reason. Reattach is the remedy.
func (v *Verifier) Healthy() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.healthy()
}

func (v *Verifier) healthy() error {
	if v.link == nil {
		return fmt.Errorf("verifier is not attached to %s", v.cfg.Interface)
	}
	info, err := v.link.Info()
	if err != nil {
		return fmt.Errorf("verifier on %s (%s): link: %w", v.cfg.Interface, v.mode, err)
	}
	// The kernel clears the interface of a link that was detached by force or
	// whose interface is gone.
	var ifindex uint32
	if xdp := info.XDP(); xdp != nil {
		ifindex = xdp.Ifindex
	} else if tcx := info.TCX(); tcx != nil {
		ifindex = tcx.Ifindex
	}
	if int(ifindex) != v.ifindex {
		return fmt.Errorf("verifier was detached from %s (%s)", v.cfg.Interface, v.mode)
	}
	return nil
}

// Reattach attaches the program anew, in the caller's network namespace, unless
// it is attached. Sessions, windows and counters stay. While it fails the node
// must pass no data.
func (v *Verifier) Reattach() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.healthy() == nil {
		return nil // a new link would leave a gap without the program
	}
	if err := v.closeLink(); err != nil {
		return &Error{Op: "detach from " + v.cfg.Interface, Err: err}
	}
	iface, err := net.InterfaceByName(v.cfg.Interface)
	if err != nil {
		return &Error{Op: "attach to " + v.cfg.Interface, Err: err}
	}
	var own [6]byte // an interface may have none
	copy(own[:], iface.HardwareAddr)
	if err := v.obj.Station.Put(uint32(0), own); err != nil {
		return &Error{Op: "attach to " + v.cfg.Interface, Err: err}
	}
	var failed []error
	modes := preference(driver(v.cfg.Interface))
	if v.cfg.Mode != "" {
		modes = []string{v.cfg.Mode}
	}
	for _, mode := range modes {
		l, err := v.attach(mode, iface.Index)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", mode, err))
			continue
		}
		v.link, v.mode, v.ifindex = l, mode, iface.Index
		v.cfg.Logger.Info("verifier attached", "interface", v.cfg.Interface, "mode", mode)
		return nil
	}
	return &Error{Op: "attach to " + v.cfg.Interface, Err: errors.Join(failed...)}
}

func (v *Verifier) attach(mode string, ifindex int) (link.Link, error) {
	program, err := v.program(mode)
	if err != nil {
		return nil, err
	}
	var l link.Link
	switch mode {
	case ModeXDPNative:
		l, err = link.AttachXDP(link.XDPOptions{Program: program, Interface: ifindex, Flags: link.XDPDriverMode})
	case ModeXDPGeneric:
		l, err = link.AttachXDP(link.XDPOptions{Program: program, Interface: ifindex, Flags: link.XDPGenericMode})
	default:
		l, err = link.AttachTCX(link.TCXOptions{
			Program: program, Interface: ifindex, Attach: ebpf.AttachTCXIngress,
			Anchor: link.Head(), // before programs that could accept a packet unseen
		})
	}
	return l, errors.Join(err, program.Close()) // the link keeps the program
}

// programs are their names in the object. The one of generic XDP tells several datagrams in
// one packet, which is hidden there, and reads the kernel's own structures for that.
var programs = map[string]string{ModeXDPNative: "verify_xdp", ModeXDPGeneric: "verify_xdp_generic", ModeTCX: "verify_tcx"}

// program loads the program of a mode, over the verifier's maps. To verify one takes the kernel
// about as long as all else with which a node begins: none is loaded that is not used.
func (v *Verifier) program(mode string) (*ebpf.Program, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, err
	}
	if err := v.cfg.apply(spec); err != nil {
		return nil, err
	}
	name, m := programs[mode], &v.obj
	maps.DeleteFunc(spec.Programs, func(n string, _ *ebpf.ProgramSpec) bool { return n != name })
	all, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{
		bpfMapSessions: m.Sessions, bpfMapStates: m.States, bpfMapWindows: m.Windows, bpfMapCounters: m.Counters,
		bpfMapHandshakeBuckets: m.HandshakeBuckets, bpfMapProvenBuckets: m.ProvenBuckets, bpfMapContactBuckets: m.ContactBuckets,
		bpfMapCookies: m.Cookies, bpfMapCalls: m.Calls, bpfMapAcquaintances: m.Acquaintances, bpfMapReportBuckets: m.ReportBuckets,
		bpfMapStation: m.Station, bpfMapSignatures: m.Signatures, bpfMapReports: m.Reports,
	}})
	if err != nil {
		return nil, err
	}
	defer all.Close()
	return all.DetachProgram(name), nil
}

// detach ends the attachment; the mutex must not be held.
func (v *Verifier) detach() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closeLink()
}

func (v *Verifier) closeLink() error {
	if v.link == nil {
		return nil
	}
	l := v.link
	v.link = nil
	return l.Close()
}
