package netem

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waiter waits for descriptors and for a time, to the precision of the kernel's timers, in the runtime's own poller. A
// system call that blocks would cost more than all else that is done for a packet: the scheduler's monitor takes the processor
// from a thread that is in one, and it has to be got back by waking others. For the same reason calls that do not block
// are made without telling the scheduler, here and in rawRead and rawWrite.
type waiter struct {
	file  *os.File // of an epoll instance, which can itself be polled
	raw   syscall.RawConn
	timer int // a timerfd
	try   func(fd uintptr) bool

	events [8]unix.EpollEvent
	n      int
	errno  syscall.Errno
}

func newWaiter(fds ...int) (*waiter, error) {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wait for packets: epoll: %w", err)
	}
	w := &waiter{timer: -1}
	if w.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for packets: timer: %w", err), unix.Close(set))
	}
	for _, fd := range append([]int{w.timer}, fds...) {
		e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
			return nil, errors.Join(fmt.Errorf("wait for packets: %w", err), unix.Close(w.timer), unix.Close(set))
		}
	}
	if err := unix.SetNonblock(set, true); err != nil { // package os polls only what does not block
		return nil, errors.Join(err, unix.Close(w.timer), unix.Close(set))
	}
	w.file = os.NewFile(uintptr(set), "epoll")
	w.try = w.look
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// wait returns when one of the descriptors can be read, or when the timeout is over, which is none if it is negative. Ready tells
// which can be.
func (w *waiter) wait(timeout time.Duration) error {
	var at unix.ItimerSpec // zero: it is stopped, and its expiry forgotten
	if timeout >= 0 {
		at.Value = unix.NsecToTimespec(int64(max(timeout, 1)))
	}
	if _, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(w.timer), 0, uintptr(unsafe.Pointer(&at)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("wait for packets: timer: %w", errno)
	}
	if err := w.raw.Read(w.try); err != nil {
		return fmt.Errorf("wait for packets: %w", err)
	}
	if w.errno != 0 {
		return fmt.Errorf("wait for packets: %w", w.errno)
	}
	return nil
}

// look asks what is ready, and does not wait.
func (w *waiter) look(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&w.events[0])), uintptr(len(w.events)), 0, 0, 0)
	w.n, w.errno = int(n), errno
	if errno != 0 {
		w.n = 0
	}
	return errno != 0 || n > 0
}

// ready tells whether a descriptor could be read when wait returned.
func (w *waiter) ready(fd int) bool {
	for _, e := range w.events[:w.n] {
		if e.Fd == int32(fd) {
			return true
		}
	}
	return false
}

func (w *waiter) close() error { return errors.Join(w.file.Close(), unix.Close(w.timer)) }

// rawRead is read(2) of a descriptor that does not block.
func rawRead(fd int, b []byte) (int, error) { return rawCall(unix.SYS_READ, fd, b) }

// rawWrite is write(2) of a message that is taken at once, or not at all.
func rawWrite(fd int, b []byte) (int, error) { return rawCall(unix.SYS_WRITE, fd, b) }

func rawCall(call uintptr, fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
