// Package corruptor corrupts attestation signatures on their way out of a pod,
// for tests of what the mesh does about them. An eBPF program at the interface's egress
// flips bits inside signature fragments and keeps the UDP checksum right; nothing else
// is touched. It ends with the process that opened it, however that ends. Where it is
// attached by a filter, a process that is killed leaves that, and it does nothing: it goes
// when the next one is opened, or with the interface.
//
// It needs Linux 5.15, and CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
package corruptor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

//go:generate go tool bpf2go -target bpfel -no-global-types -type counter -cflags "-O2 -g -Wall -Wextra -Werror -mcpu=v3 -I../headers -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" bpf corruptor.c

// MaxPeers is the largest number of peers that can be chosen.
const MaxPeers = 256

// The ways in which the program is attached.
const (
	ModeTCX    = "tcx"    // at tcx egress, Linux 6.6
	ModeClsact = "clsact" // by a filter of a clsact qdisc
)

// Config says what is corrupted.
type Config struct {
	// Interface is the name of the network interface; required.
	Interface string
	// Mode is one of the Mode constants, or empty: tcx where the kernel has it.
	Mode string
	// Peers are the addresses whose packets are corrupted; none means all.
	Peers []netip.Addr
	// Offset is the byte of the fragment's payload whose bits in Mask are flipped.
	// Fragments that end before it are left alone and counted as Failed.
	Offset uint16
	// Mask must not be zero.
	Mask uint8
	// Rate is the part of the fragments that is corrupted, above 0 and up to 1.
	Rate float64
}

// Counts says what was done since Open.
type Counts struct {
	Seen      uint64 // signature fragments to the chosen peers
	Corrupted uint64
	Failed    uint64 // chosen by Rate, but too short or not writable
}

// Corruptor is a loaded and attached program.
type Corruptor struct {
	obj      bpfObjects
	attached io.Closer // nil: not
	mode     string
}

// Open loads the program and attaches it, in the caller's network namespace.
func Open(cfg Config) (*Corruptor, error) {
	c := &Corruptor{}
	err := c.load(cfg)
	if err == nil {
		err = c.attach(cfg.Interface, cfg.Mode)
	}
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)", err)
		}
		return nil, fmt.Errorf("corruptor on %q: %w", cfg.Interface, errors.Join(err, c.Close()))
	}
	return c, nil
}

// load does all of Open but the attachment.
func (c *Corruptor) load(cfg Config) error {
	switch {
	case !(cfg.Rate > 0 && cfg.Rate <= 1):
		return fmt.Errorf("rate %v: must be above 0 and up to 1", cfg.Rate)
	case cfg.Mask == 0:
		return errors.New("mask 0 flips nothing")
	case len(cfg.Peers) > MaxPeers:
		return fmt.Errorf("%d peers: at most %d", len(cfg.Peers), MaxPeers)
	case cfg.Mode != "" && cfg.Mode != ModeTCX && cfg.Mode != ModeClsact:
		return fmt.Errorf("mode %q: there are %s and %s", cfg.Mode, ModeTCX, ModeClsact)
	}
	spec, err := loadBpf()
	if err != nil {
		return err
	}
	all := uint8(0)
	if len(cfg.Peers) == 0 {
		all = 1
	}
	for name, value := range map[string]any{
		bpfVarFlipOffset: uint32(cfg.Offset),
		bpfVarFlipMask:   cfg.Mask,
		bpfVarFlipChance: uint64(cfg.Rate * (1 << 32)),
		bpfVarAllPeers:   all,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	if err := spec.LoadAndAssign(&c.obj, nil); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	for _, peer := range cfg.Peers {
		if err := c.obj.Peers.Put(peer.As16(), uint8(1)); err != nil {
			return fmt.Errorf("peer %s: %w", peer, err)
		}
	}
	return nil
}

func (c *Corruptor) attach(name, mode string) error {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	if mode != ModeClsact {
		l, err := link.AttachTCX(link.TCXOptions{
			Program: c.obj.CorruptSignatures, Interface: iface.Index, Attach: ebpf.AttachTCXEgress,
		})
		if err == nil {
			c.attached, c.mode = l, ModeTCX
			return nil
		}
		if mode == ModeTCX || !errors.Is(err, ebpf.ErrNotSupported) {
			return fmt.Errorf("attach at tcx egress (Linux 6.6 or later): %w", err)
		}
	}
	f, err := attachFilter(c.obj.CorruptSignatures, iface)
	if err != nil {
		return fmt.Errorf("attach by a filter at clsact egress: %w", err)
	}
	c.attached, c.mode = f, ModeClsact
	return nil
}

// Mode says how the program is or was attached: one of the Mode constants.
func (c *Corruptor) Mode() string { return c.mode }

// Counts reads the program's counters, summed over all CPUs.
func (c *Corruptor) Counts() (Counts, error) {
	var counts Counts
	for index, sum := range map[bpfCounter]*uint64{
		bpfCounterCOUNTER_SEEN:      &counts.Seen,
		bpfCounterCOUNTER_CORRUPTED: &counts.Corrupted,
		bpfCounterCOUNTER_FAILED:    &counts.Failed,
	} {
		var perCPU []uint64
		if err := c.obj.Counters.Lookup(uint32(index), &perCPU); err != nil {
			return Counts{}, fmt.Errorf("read corruptor counter %d: %w", index, err)
		}
		for _, n := range perCPU {
			*sum += n
		}
	}
	return counts, nil
}

// Close detaches the program and frees everything.
func (c *Corruptor) Close() error {
	var err error
	if c.attached != nil {
		err = c.attached.Close()
		c.attached = nil
	}
	return errors.Join(err, c.obj.Close())
}
