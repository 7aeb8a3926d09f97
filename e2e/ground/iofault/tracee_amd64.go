package iofault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tracee is a process of which every thread is stopped, and that makes system calls for
// us. Nothing else can change the descriptors and mappings of another process:
// pidfd_getfd(2) only takes. All of its methods are for the thread that stopped it.
type tracee struct {
	pid     int
	threads []int

	// While it makes calls:
	caller   int             // the thread that makes them
	saved    unix.PtraceRegs // of the caller
	blocked  uint64          // signals of the caller
	syscall  uint64          // address of a syscall instruction
	scratch  uint64          // address of a page of our own in it
	deadline time.Time
}

var (
	errGone  = errors.New("the process has ended")
	errStuck = errors.New("the process did not stop in time")
)

const scratchBytes = 8192 // a path and its end, or a lock

// seize attaches to the threads of the process that are not attached to yet, asks them
// to stop, and tells whether there were any.
func (t *tracee) seize() (fresh bool, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", t.pid))
	if err != nil {
		return false, errGone
	}
	for _, e := range entries {
		var tid int
		if _, err := fmt.Sscan(e.Name(), &tid); err != nil {
			return false, err
		}
		if t.has(tid) {
			continue
		}
		if err := unix.PtraceSeize(tid); err != nil {
			if dead(t.pid, tid) {
				continue
			}
			return false, fmt.Errorf("trace thread %d of process %d: %w", tid, t.pid, err)
		}
		t.threads, fresh = append(t.threads, tid), true
		if err := unix.PtraceInterrupt(tid); err != nil && !errors.Is(err, unix.ESRCH) {
			return false, fmt.Errorf("stop thread %d of process %d: %w", tid, t.pid, err)
		}
	}
	return fresh, nil
}

func (t *tracee) has(tid int) bool {
	for _, have := range t.threads {
		if have == tid {
			return true
		}
	}
	return false
}

// dead tells whether a thread has ended, or is about to and only waits for that to be noticed.
func dead(pid, tid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid))
	if err != nil {
		return true
	}
	_, state, _ := bytes.Cut(b, []byte(") "))
	return len(state) > 0 && (state[0] == 'Z' || state[0] == 'X')
}

// stopped waits until every thread has stopped. Those that end meanwhile are forgotten.
func (t *tracee) stopped(deadline time.Time) error {
	var live []int
	for i, tid := range t.threads {
		for {
			status, err := waitFor(tid, deadline)
			if errors.Is(err, errGone) {
				break
			}
			if err != nil {
				t.threads = append(live, t.threads[i:]...)
				return fmt.Errorf("thread %d of process %d: %w", tid, t.pid, err)
			}
			if int(status)>>16 == unix.PTRACE_EVENT_STOP {
				live = append(live, tid)
				break
			}
			// A signal came first: let it through, the stop comes next.
			if err := unix.PtraceCont(tid, int(status.StopSignal())); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	if t.threads = live; len(live) == 0 {
		return errGone
	}
	return nil
}

// waitFor waits for a traced thread to stop.
func waitFor(tid int, deadline time.Time) (unix.WaitStatus, error) {
	for pause := 10 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		var status unix.WaitStatus
		got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD), got == tid && !status.Stopped():
			return 0, errGone
		case err != nil:
			return 0, err
		case got == tid:
			return status, nil
		case time.Now().After(deadline):
			return 0, errStuck
		}
		time.Sleep(pause)
	}
}

// release lets every thread go on. One that has not stopped yet cannot be let go (ptrace(2)):
// it stays attached to, and is let go when the tracing thread ends.
func (t *tracee) release() error {
	var errs []error
	var running []int
	for _, tid := range t.threads {
		switch err := detach(tid); {
		case err == nil:
		case !errors.Is(err, unix.ESRCH):
			errs = append(errs, fmt.Errorf("let thread %d of process %d go: %w", tid, t.pid, err))
		case !dead(t.pid, tid):
			running = append(running, tid)
		}
	}
	t.threads = running
	return errors.Join(errs...)
}

// detach lets a thread go on, with the signal for which it may have stopped instead.
func detach(tid int) error {
	var status unix.WaitStatus
	signal := uintptr(0)
	if got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil); err == nil && got == tid && status.Stopped() && int(status)>>16 != unix.PTRACE_EVENT_STOP {
		signal = uintptr(status.StopSignal())
	}
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, signal, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// begin makes the process ready to make calls.
func (t *tracee) begin(deadline time.Time) error {
	t.caller, t.deadline = t.threads[0], deadline
	if err := unix.PtraceGetRegs(t.caller, &t.saved); err != nil {
		return err
	}
	if t.saved.Cs != 0x33 { // __USER_CS of 64 bits
		return errors.New("it is not a 64-bit process")
	}
	instruction, err := syscallOf(t.pid)
	if err != nil {
		return err
	}
	t.syscall = instruction
	// A signal must not be handled in the middle.
	if err := sigmask(ptraceGetSigmask, t.caller, &t.blocked); err != nil {
		return err
	}
	all := ^uint64(0)
	if err := sigmask(ptraceSetSigmask, t.caller, &all); err != nil {
		return err
	}
	page, err := t.call(unix.SYS_MMAP, 0, scratchBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0)
	if err != nil {
		return errors.Join(err, t.restore())
	}
	t.scratch = page
	return nil
}

// end undoes begin.
func (t *tracee) end() error {
	_, err := t.call(unix.SYS_MUNMAP, t.scratch, scratchBytes)
	return errors.Join(err, t.restore())
}

func (t *tracee) restore() error {
	// With the registers of an interrupted call the kernel restarts it.
	return errors.Join(unix.PtraceSetRegs(t.caller, &t.saved), sigmask(ptraceSetSigmask, t.caller, &t.blocked))
}

// call makes the process make a system call.
func (t *tracee) call(number uint64, args ...uint64) (uint64, error) {
	regs := t.saved
	regs.Orig_rax = ^uint64(0) // no call is interrupted here: the kernel must not restart any
	regs.Rax, regs.Rip = number, t.syscall
	for i, r := range []*uint64{&regs.Rdi, &regs.Rsi, &regs.Rdx, &regs.R10, &regs.R8, &regs.R9} {
		if *r = 0; i < len(args) {
			*r = args[i]
		}
	}
	if err := unix.PtraceSetRegs(t.caller, &regs); err != nil {
		return 0, err
	}
	for regs.Rip == t.syscall { // a stop for another reason does not move it
		if err := unix.PtraceSingleStep(t.caller); err != nil {
			return 0, err
		}
		if _, err := waitFor(t.caller, t.deadline); err != nil {
			return 0, err
		}
		if err := unix.PtraceGetRegs(t.caller, &regs); err != nil {
			return 0, err
		}
	}
	if code := int64(regs.Rax); code < 0 && code > -4096 {
		return 0, unix.Errno(-code)
	}
	return regs.Rax, nil
}

// text puts a C string into the process and returns its address.
func (t *tracee) text(s string) (uint64, error) {
	return t.scratch, t.write(append([]byte(s), 0))
}

// write puts bytes at scratch.
func (t *tracee) write(b []byte) error {
	if len(b) > scratchBytes {
		return unix.ENAMETOOLONG
	}
	_, err := unix.PtracePokeData(t.caller, uintptr(t.scratch), b)
	return err
}

// syscallOf finds a syscall instruction in the vDSO, which every process has. It is
// none of the process's own code that we would have to change.
func syscallOf(pid int) (uint64, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(line, "[vdso]\n") {
			continue
		}
		var start, end uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &start, &end); err != nil {
			return 0, err
		}
		memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
		if err != nil {
			return 0, err
		}
		defer memory.Close()
		code := make([]byte, end-start)
		if _, err := memory.ReadAt(code, int64(start)); err != nil {
			return 0, err
		}
		if at := bytes.Index(code, []byte{0x0f, 0x05}); at >= 0 {
			return start + uint64(at), nil
		}
	}
	return 0, errors.New("it has no vDSO")
}

// From linux/ptrace.h.
const (
	ptraceGetSigmask = 0x420a
	ptraceSetSigmask = 0x420b
)

func sigmask(request, tid int, mask *uint64) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), unsafe.Sizeof(*mask), uintptr(unsafe.Pointer(mask)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
