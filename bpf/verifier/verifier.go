package verifier

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

const (
	// MaxSequence is the largest sequence number that the program accepts, over
	// a hundred thousand million: a session is rotated long before.
	MaxSequence = 1<<bpfFrameConstantFRAME_SEQUENCE_BITS - 1

	// DefaultSessions is the default of Config.Sessions.
	DefaultSessions = 65536
	// DefaultHandshakeRate is the default of Config.HandshakeRate.
	DefaultHandshakeRate = 200
	// DefaultHandshakeBurst is the default of Config.HandshakeBurst.
	DefaultHandshakeBurst = 400
	// DefaultContactRate is the default of Config.ContactRate.
	DefaultContactRate = 1000
	// DefaultContactBurst is the default of Config.ContactBurst.
	DefaultContactBurst = 500
	// DefaultReportRate is the default of Config.ReportRate.
	DefaultReportRate = 100
)

// Config says where and how a verifier runs. Zero values mean the defaults.
type Config struct {
	// Interface is the name of the network interface; required.
	Interface string
	// Mode forces a way to attach, one of ModeXDPNative, ModeXDPGeneric and
	// ModeTCX; empty tries them all, first what serves the interface best.
	Mode string
	// HandshakeRate is how many handshake frames per second one source address
	// may send, HandshakeBurst how many at once.
	HandshakeRate, HandshakeBurst uint32
	// ContactRate is how many handshake frames per second all sources of a kind may
	// send together, ContactBurst how many at once. There are four kinds: frames from
	// where a peer is known to be and others, proven to come from there and not.
	ContactRate, ContactBurst uint32
	// ReportRate is how many drops per second are reported of each verdict.
	ReportRate uint32
	// Sessions is how many sessions can live at once.
	Sessions uint32
	// Logger gets a line whenever the program is attached; nil means none.
	Logger *slog.Logger
}

// Verifier is a loaded and attached program. Its methods are safe for concurrent use.
type Verifier struct {
	cfg Config
	obj bpfMaps

	attachment // guarded by its own mutex
	sessions   sessions

	signatures, reports eventReader
}

// Open probes the kernel, loads the program and attaches it to the interface.
// Errors are of type *Error: one line, with the kernel's whole log under %+v.
func Open(cfg Config) (*Verifier, error) {
	v, err := load(cfg)
	if err != nil {
		return nil, err
	}
	if err := v.Reattach(); err != nil {
		if closing := v.Close(); closing != nil {
			err = &Error{Op: "attach", Err: errors.Join(err, closing)}
		}
		return nil, err
	}
	return v, nil
}

// load does all of Open but the attachment.
func load(cfg Config) (*Verifier, error) {
	if err := cfg.complete(); err != nil {
		return nil, &Error{Op: "configure", Err: err}
	}
	if err := probe(); err != nil {
		return nil, &Error{Op: "probe the kernel", Err: err}
	}
	spec, err := loadBpf()
	if err != nil {
		return nil, &Error{Op: "read the object", Err: err}
	}
	if err := cfg.apply(spec); err != nil {
		return nil, &Error{Op: "configure", Err: err}
	}
	v := &Verifier{cfg: cfg}
	if err := spec.LoadAndAssign(&v.obj, nil); err != nil {
		return nil, &Error{Op: "load", Err: err}
	}
	v.sessions.init(&v.obj, cfg.Sessions)
	var current, previous frame.Key // zero ones would be known to everybody
	rand.Read(current[:])
	rand.Read(previous[:])
	if err := v.PutSecrets(current, previous); err != nil {
		return nil, &Error{Op: "load", Err: errors.Join(err, v.obj.Close())}
	}
	if v.signatures.ring, err = ringbuf.NewReader(v.obj.Signatures); err == nil {
		v.reports.ring, err = ringbuf.NewReader(v.obj.Reports)
	}
	if err != nil {
		return nil, &Error{Op: "read events", Err: errors.Join(err, v.Close())}
	}
	return v, nil
}

// Close detaches the program and frees everything. Waiting reads return
// ErrClosed. A closed verifier lets every packet pass unjudged: whoever closes it
// must have closed the socket before.
func (v *Verifier) Close() error {
	err := v.detach()
	for _, r := range []*eventReader{&v.signatures, &v.reports} {
		if r.ring != nil {
			err = errors.Join(err, r.ring.Close())
		}
	}
	return errors.Join(err, v.obj.Close())
}

// complete replaces zero values by the defaults.
func (c *Config) complete() error {
	if c.Interface == "" {
		return errors.New("no interface given")
	}
	switch c.Mode {
	case "", ModeXDPNative, ModeXDPGeneric, ModeTCX:
	default:
		return fmt.Errorf("unknown mode %q: use %s, %s or %s", c.Mode, ModeXDPNative, ModeXDPGeneric, ModeTCX)
	}
	for _, v := range []struct {
		value    *uint32
		fallback uint32
	}{
		{&c.HandshakeRate, DefaultHandshakeRate},
		{&c.HandshakeBurst, DefaultHandshakeBurst},
		{&c.ContactRate, DefaultContactRate},
		{&c.ContactBurst, DefaultContactBurst},
		{&c.ReportRate, DefaultReportRate},
		{&c.Sessions, DefaultSessions},
	} {
		if *v.value == 0 {
			*v.value = v.fallback
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// apply writes the configuration into the program's constants and maps.
func (c *Config) apply(spec *ebpf.CollectionSpec) error {
	handshake, contact, report := interval(c.HandshakeRate), interval(c.ContactRate), interval(c.ReportRate)
	for name, value := range map[string]uint64{
		bpfVarHandshakeInterval:  handshake,
		bpfVarHandshakeTolerance: handshake * uint64(c.HandshakeBurst-1),
		bpfVarContactInterval:    contact,
		bpfVarContactTolerance:   contact * uint64(c.ContactBurst-1),
		bpfVarReportInterval:     report,
		bpfVarReportTolerance:    report * uint64(c.ReportRate-1),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	for _, name := range []string{bpfMapSessions, bpfMapStates, bpfMapWindows} {
		spec.Maps[name].MaxEntries = c.Sessions
	}
	return nil
}

// interval is the time in ns between two packets at a rate per second.
func interval(rate uint32) uint64 { return uint64(time.Second) / uint64(rate) }

// Now is the kernel's ktime, CLOCK_MONOTONIC: the time since boot without
// suspension. All times of this package are on this clock.
//
// It asks the kernel itself: a fake clock (Chaos Mesh's TimeChaos) changes what a process is told without a system call, which
// package time relies on. Go's scheduler need not know of a call that takes less than a microsecond: for each of which it
// does its monitor, a thread of its own, wakes up.
func Now() time.Duration {
	var ts unix.Timespec
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		panic("verifier: CLOCK_MONOTONIC: " + errno.Error()) // cannot happen on Linux
	}
	return time.Duration(ts.Nano())
}
