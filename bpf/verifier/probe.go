package verifier

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// Error says what could not be done. Its text is one line; %+v appends the
// kernel verifier's whole log where there is one.
type Error struct {
	Op  string // what was tried
	Err error
}

func (e *Error) Error() string {
	text := strings.ReplaceAll(e.Err.Error(), "\n", "; ")
	if errors.Is(e.Err, unix.EPERM) {
		text += " (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)"
	}
	return "verifier: " + e.Op + ": " + text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Format implements fmt.Formatter for %+v.
func (e *Error) Format(s fmt.State, verb rune) {
	fmt.Fprint(s, e.Error())
	var log *ebpf.VerifierError
	if verb == 'v' && s.Flag('+') && errors.As(e.Err, &log) {
		fmt.Fprintf(s, "\n%+v", log)
	}
}

// probe checks for what the program needs of the kernel, so that an old kernel
// is named as that and not as a puzzle of the kernel's verifier.
func probe() error {
	for _, need := range []struct {
		what string
		have func() error
	}{
		{"XDP programs", func() error { return features.HaveProgramType(ebpf.XDP) }},
		{"tc programs", func() error { return features.HaveProgramType(ebpf.SchedCLS) }},
		{"ring buffers (Linux 5.8)", func() error { return features.HaveMapType(ebpf.RingBuf) }},
		{"LRU hash maps", func() error { return features.HaveMapType(ebpf.LRUHash) }},
		{"the coarse clock (Linux 5.11)", func() error {
			return features.HaveProgramHelper(ebpf.XDP, asm.FnKtimeGetCoarseNs)
		}},
		{"atomic compare and swap (Linux 5.12)", haveCompareAndSwap},
	} {
		err := need.have()
		if errors.Is(err, ebpf.ErrNotSupported) {
			return fmt.Errorf("this kernel has no BPF with %s: Linux 5.15 or later is needed: %w", need.what, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", need.what, err)
		}
	}
	return nil
}

// haveCompareAndSwap loads a program that swaps a word of its stack.
func haveCompareAndSwap() error {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:    ebpf.SocketFilter,
		License: "Dual MIT/GPL",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R0, 0),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreMem(asm.RFP, -8, asm.R0, asm.DWord),
			atomicOp(asm.CmpXchg, asm.RFP, asm.R1, -8),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		},
	})
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %w", ebpf.ErrNotSupported, err)
	}
	if err != nil {
		return err
	}
	return prog.Close()
}

// atomicOp is an atomic operation on 64 bits. Its Constant is set as well because
// cilium/ebpf 0.22 writes out that one, and not the operation in the opcode.
func atomicOp(op asm.AtomicOp, dst, src asm.Register, offset int16) asm.Instruction {
	ins := op.Mem(dst, src, asm.DWord, offset)
	ins.Constant = int64(op >> 8)
	return ins
}
