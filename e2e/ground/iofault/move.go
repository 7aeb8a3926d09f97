package iofault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// description is an open file description: several descriptors can share it, and with
// it the position.
type description struct {
	holders []held
}

type held struct {
	process *tracee
	descriptor
}

// move opens anew what processes hold, by the names under which they had opened it.
func (v volume) move(frozen []*tracee, all []holdings) (err error) {
	var busy []*tracee
	deadline := time.Now().Add(callTimeout)
	defer func() {
		for _, t := range busy {
			err = errors.Join(err, named(t, t.end()))
		}
	}()
	process := map[int]*tracee{}
	for _, h := range all {
		if len(h.descriptors) == 0 && len(h.mappings) == 0 && h.cwd == "" {
			continue
		}
		t := frozen[slices.IndexFunc(frozen, func(t *tracee) bool { return t.pid == h.pid })]
		if err := t.begin(deadline); err != nil {
			return fmt.Errorf("process %d: %w", t.pid, err)
		}
		process[h.pid], busy = t, append(busy, t)
	}
	descriptions, err := describe(process, all)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range descriptions {
		first := d.holders[0]
		errs = append(errs, d.each(func(h held) error { return h.adopt(first) }))
	}
	for _, h := range all {
		t := process[h.pid]
		if h.cwd != "" {
			errs = append(errs, named(t, t.path(unix.SYS_CHDIR, h.cwd)))
		}
		for _, m := range h.mappings {
			if err := m.move(t); err != nil {
				errs = append(errs, named(t, fmt.Errorf("mapping %x-%x, %s: %w", m.start, m.end, m.path, err)))
			}
		}
	}
	// A mapping holds its description, and so its locks: now nothing of the old is left.
	for _, d := range descriptions {
		errs = append(errs, d.each(held.lock))
	}
	return errors.Join(errs...)
}

// named says whose error it is. Of a process that was killed meanwhile there is nothing to move.
func named(t *tracee, err error) error {
	if err == nil || dead(t.pid, t.pid) {
		return nil
	}
	return fmt.Errorf("process %d: %w", t.pid, err)
}

// describe groups descriptors by the description that they share.
func describe(process map[int]*tracee, all []holdings) (groups []*description, err error) {
	for _, h := range all {
	next:
		for _, d := range h.descriptors {
			one := held{process[h.pid], d}
			for _, g := range groups {
				same, err := shared(g.holders[0], one)
				if err != nil {
					return nil, err
				}
				if same {
					g.holders = append(g.holders, one)
					continue next
				}
			}
			groups = append(groups, &description{[]held{one}})
		}
	}
	return groups, nil
}

// shared tells whether two descriptors have one description.
func shared(a, b held) (bool, error) {
	const kcmpFile = 0 // KCMP_FILE of linux/kcmp.h
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a.process.pid), uintptr(b.process.pid), kcmpFile, uintptr(a.fd), uintptr(b.fd), 0)
	if errno != 0 {
		return false, fmt.Errorf("kcmp: %w", errno)
	}
	return r == 0, nil
}

// each runs do for every holder of d.
func (d *description) each(do func(held) error) error {
	var errs []error
	for _, h := range d.holders {
		if err := do(h); err != nil {
			errs = append(errs, named(h.process, fmt.Errorf("descriptor %d, %s: %w", h.fd, h.path, err)))
		}
	}
	return errors.Join(errs...)
}

// adopt puts the new description in the place of h: one that it opens if it is the first of
// its holders, else that of the first.
func (h held) adopt(first held) (err error) {
	opens := h.process == first.process && h.fd == first.fd
	fd := uint64(first.fd)
	if opens || h.process != first.process {
		if opens {
			fd, err = h.process.open(h.path, h.flags)
		} else {
			fd, err = h.process.fetch(first.process.pid, first.fd)
		}
		if err != nil {
			return err
		}
		defer func() {
			_, e := h.process.call(unix.SYS_CLOSE, fd)
			err = errors.Join(err, e)
		}()
	}
	if opens && h.flags&unix.O_PATH == 0 {
		if _, err := h.process.call(unix.SYS_LSEEK, fd, uint64(h.position), unix.SEEK_SET); err != nil {
			return err
		}
	}
	_, err = h.process.call(unix.SYS_DUP3, fd, uint64(h.fd), uint64(h.flags&unix.O_CLOEXEC))
	return err
}

// lock takes the locks of h on its new description.
func (h held) lock() error {
	for _, l := range h.locks {
		if err := l.take(h); err != nil {
			return fmt.Errorf("take its lock: %w", err)
		}
	}
	return nil
}

func (l lock) take(h held) error {
	if l.kind == lockFile {
		op := uint64(unix.LOCK_SH | unix.LOCK_NB)
		if l.write {
			op = unix.LOCK_EX | unix.LOCK_NB
		}
		_, err := h.process.call(unix.SYS_FLOCK, uint64(h.fd), op)
		return err
	}
	kind, command := unix.F_RDLCK, uint64(unix.F_SETLK)
	if l.write {
		kind = unix.F_WRLCK
	}
	if l.kind == lockOpen {
		command = unix.F_OFD_SETLK
	}
	length := int64(0) // to the end, whatever that becomes
	if l.end >= 0 {
		length = l.end - l.start + 1
	}
	// struct flock: l_type, l_whence, padding, l_start, l_len, l_pid, padding
	b := binary.NativeEndian.AppendUint16(nil, uint16(kind))
	b = binary.NativeEndian.AppendUint16(b, unix.SEEK_SET)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint64(b, uint64(l.start))
	b = binary.NativeEndian.AppendUint64(b, uint64(length))
	b = binary.NativeEndian.AppendUint64(b, 0)
	if err := h.process.write(b); err != nil {
		return err
	}
	_, err := h.process.call(unix.SYS_FCNTL, uint64(h.fd), command, h.process.scratch)
	return err
}

// move maps m anew at its place.
func (m mapping) move(t *tracee) error {
	length := m.end - m.start
	if m.writable {
		// What was changed in memory alone goes the way on which it would have gone.
		if _, err := t.call(unix.SYS_MSYNC, m.start, length, unix.MS_SYNC); err != nil {
			return fmt.Errorf("msync: %w", err)
		}
	}
	flags, kind := unix.O_RDONLY, uint64(unix.MAP_PRIVATE)
	if m.writable {
		flags = unix.O_RDWR // or it could not be made writable any more
	}
	if m.shared {
		kind = unix.MAP_SHARED
	}
	fd, err := t.open(m.path, flags)
	if err != nil {
		return err
	}
	_, err = t.call(unix.SYS_MMAP, m.start, length, uint64(m.prot), kind|unix.MAP_FIXED, fd, m.offset)
	if _, e := t.call(unix.SYS_CLOSE, fd); err == nil {
		err = e
	}
	for _, advice := range m.advice {
		if err == nil {
			_, err = t.call(unix.SYS_MADVISE, m.start, length, uint64(advice))
		}
	}
	return err
}

// open makes the process open a file.
func (t *tracee) open(path string, flags int) (uint64, error) {
	address, err := t.text(path)
	if err != nil {
		return 0, err
	}
	return t.call(unix.SYS_OPEN, address, uint64(flags&^unix.O_CLOEXEC))
}

// path makes the process make a call that has a path for its argument.
func (t *tracee) path(number uint64, path string) error {
	address, err := t.text(path)
	if err != nil {
		return err
	}
	_, err = t.call(number, address)
	return err
}

// fetch makes the process take a descriptor from another one: those that share a
// description, such as a shell and its child, share the new one too.
func (t *tracee) fetch(pid, fd int) (uint64, error) {
	other, err := t.call(unix.SYS_PIDFD_OPEN, uint64(pid), 0)
	if err != nil {
		return 0, os.NewSyscallError("pidfd_open", err)
	}
	got, err := t.call(unix.SYS_PIDFD_GETFD, other, uint64(fd), 0)
	if _, e := t.call(unix.SYS_CLOSE, other); err == nil && e != nil {
		err = e
	}
	return got, os.NewSyscallError("pidfd_getfd", err)
}
