package iofault

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holdings are what a process has of a mount: what must be moved with it.
type holdings struct {
	pid         int
	descriptors []descriptor
	mappings    []mapping
	cwd         string // "" if it is elsewhere
}

// descriptor is an open file of a process.
type descriptor struct {
	fd   int
	path string
	fdInfo
}

// fdInfo is what /proc/PID/fdinfo says of a descriptor.
type fdInfo struct {
	mount    uint64
	position int64
	flags    int // as of open(2), with O_CLOEXEC
	locks    []lock
}

// lock is a lock that is held through a descriptor.
type lock struct {
	kind       string // lockFile, lockRecord, lockOpen, or one that cannot be moved
	write      bool
	start, end int64 // end is the last byte, -1 for the end of the file
}

// The kinds of /proc/locks that can be moved.
const (
	lockFile   = "FLOCK"  // of flock(2)
	lockRecord = "POSIX"  // of fcntl(2), and a process
	lockOpen   = "OFDLCK" // of fcntl(2), and an open file description
)

// mapping is a file mapped into memory.
type mapping struct {
	start, end uint64
	offset     uint64
	prot       int
	shared     bool
	writable   bool // may become so: the file was open for writing
	private    bool // a private copy was changed
	locked     bool
	advice     []int
	path       string
}

// survey finds what the process has of the mount below path. What cannot be moved is in the
// error, and not in the holdings.
func survey(pid int, mount uint64, path string) (h holdings, err error) {
	h = holdings{pid: pid}
	proc := fmt.Sprintf("/proc/%d", pid)
	root, err := mountOfPath(proc + "/root")
	if err != nil {
		return h, err
	}
	cwd, err := mountOfPath(proc + "/cwd")
	if err != nil {
		return h, err
	}
	var errs []error
	if inside, err := os.Readlink(proc + "/root"); root == mount && (err != nil || below(inside, path)) {
		errs = append(errs, fmt.Errorf("process %d has its root on the volume: it cannot be moved", pid))
	}
	if cwd == mount {
		if h.cwd, err = os.Readlink(proc + "/cwd"); err != nil {
			return h, err
		}
		if !below(h.cwd, path) {
			h.cwd = ""
		}
	}
	errs = append(errs, h.readDescriptors(mount, path), h.readMappings(mount, path))
	return h, errors.Join(errs...)
}

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

const deleted = " (deleted)"

func (h *holdings) readDescriptors(mount uint64, path string) error {
	dir := fmt.Sprintf("/proc/%d/fd", h.pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			return err
		}
		d := descriptor{fd: fd}
		if d.path, err = os.Readlink(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
		if d.fdInfo, err = readFDInfo(fmt.Sprintf("/proc/%d/fdinfo/%d", h.pid, fd)); err != nil {
			return fmt.Errorf("descriptor %d of process %d: %w", fd, h.pid, err)
		}
		if d.mount != mount || !below(d.path, path) {
			continue
		}
		if err := d.movable(dir); err != nil {
			errs = append(errs, fmt.Errorf("descriptor %d of process %d, %s: %w", fd, h.pid, d.path, err))
			continue
		}
		h.descriptors = append(h.descriptors, d)
	}
	return errors.Join(errs...)
}

func (d descriptor) movable(dir string) error {
	if strings.HasSuffix(d.path, deleted) {
		return errors.New("the file has no name any more, so it cannot be opened anew")
	}
	for _, l := range d.locks {
		if !slices.Contains([]string{lockFile, lockRecord, lockOpen}, l.kind) {
			return fmt.Errorf("a %s cannot be moved", l.kind)
		}
	}
	if d.flags&unix.O_DIRECTORY != 0 && d.position != 0 {
		return errors.New("the directory is being read: its position means nothing elsewhere")
	}
	// What the kernel has in memory does: a layer that is dead would not answer.
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, filepath.Join(dir, strconv.Itoa(d.fd)), unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st); err != nil {
		return err
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return errors.New("it is neither a file nor a directory")
	}
	return nil
}

func readFDInfo(file string) (info fdInfo, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return info, err
	}
	return parseFDInfo(string(b))
}

func parseFDInfo(text string) (info fdInfo, err error) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "pos":
			info.position, err = strconv.ParseInt(value, 10, 64)
		case "flags":
			var flags int64
			flags, err = strconv.ParseInt(value, 8, 64)
			info.flags = int(flags)
		case "mnt_id":
			info.mount, err = strconv.ParseUint(value, 10, 64)
		case "lock":
			var l lock
			l, err = parseLock(value)
			info.locks = append(info.locks, l)
		}
		if err != nil {
			return info, fmt.Errorf("fdinfo: %q: %w", line, err)
		}
	}
	return info, nil
}

// parseLock reads a line of /proc/locks, such as "1: FLOCK  ADVISORY  WRITE 7 00:1e:3 0 EOF".
func parseLock(text string) (l lock, err error) {
	f := strings.Fields(text)
	if len(f) != 8 {
		return l, fs.ErrInvalid
	}
	l.kind, l.write, l.end = f[1], f[3] == "WRITE", -1
	if l.start, err = strconv.ParseInt(f[6], 10, 64); err == nil && f[7] != "EOF" {
		l.end, err = strconv.ParseInt(f[7], 10, 64)
	}
	return l, err
}

func (h *holdings) readMappings(mount uint64, path string) error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", h.pid))
	if err != nil {
		return err
	}
	defer f.Close()
	var errs []error
	var at *mapping // the one of which the lines speak
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if !strings.HasSuffix(fields[0], ":") {
			m, err := parseMapping(lines.Text())
			if err != nil {
				return err
			}
			on := uint64(0)
			if below(m.path, path) {
				if on, err = mountOfPath(fmt.Sprintf("/proc/%d/map_files/%x-%x", h.pid, m.start, m.end)); err != nil {
					return err
				}
			}
			if at = nil; on == mount {
				at = &m
			}
			continue
		}
		if at == nil {
			continue
		}
		at.learn(fields)
		if fields[0] != "VmFlags:" { // the last line of each
			continue
		}
		if err := at.movable(); err != nil {
			errs = append(errs, fmt.Errorf("process %d has %s mapped at %x: %w", h.pid, at.path, at.start, err))
			continue
		}
		h.mappings = append(h.mappings, *at)
	}
	return errors.Join(append(errs, lines.Err())...)
}

// learn takes a line of smaps that follows the first.
func (m *mapping) learn(fields []string) {
	switch fields[0] {
	case "Anonymous:":
		m.private = !m.shared && fields[1] != "0"
	case "VmFlags:":
		m.writable = m.shared && slices.Contains(fields, "mw")
		m.locked = slices.Contains(fields, "lo")
		for flag, advice := range map[string]int{
			"rr": unix.MADV_RANDOM, "sr": unix.MADV_SEQUENTIAL, "dc": unix.MADV_DONTFORK, "dd": unix.MADV_DONTDUMP,
		} {
			if slices.Contains(fields, flag) {
				m.advice = append(m.advice, advice)
			}
		}
	}
}

func (m *mapping) movable() error {
	switch {
	case strings.HasSuffix(m.path, deleted):
		return errors.New("the file has no name any more, so it cannot be mapped anew")
	case m.private:
		return errors.New("a private copy of it was changed, which mapping it anew would lose")
	case m.locked:
		return errors.New("it is locked in memory, which does not outlast mapping it anew")
	}
	return nil
}

// parseMapping reads the first line of a mapping in /proc/PID/smaps.
func parseMapping(line string) (m mapping, err error) {
	// address perms offset dev inode path: the path may have spaces
	fields := strings.SplitN(line, " ", 6)
	if len(fields) < 5 {
		return m, fmt.Errorf("smaps: %q is cut short", line)
	}
	if _, err := fmt.Sscanf(fields[0]+" "+fields[2], "%x-%x %x", &m.start, &m.end, &m.offset); err != nil {
		return m, fmt.Errorf("smaps: %q: %w", line, err)
	}
	for i, prot := range []int{unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC} {
		if fields[1][i] != '-' {
			m.prot |= prot
		}
	}
	m.shared = fields[1][3] == 's'
	if len(fields) == 6 {
		m.path = unescape(strings.TrimLeft(fields[5], " "))
	}
	return m, nil
}
