package engine

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrBusy is the error when another process of this suite holds a lock.
var ErrBusy = errors.New("another run is at work on this machine")

// Lock is a lock of this machine that ends with the process at the latest.
type Lock struct{ file *os.File }

// Acquire takes the lock of the given name; the error wraps ErrBusy and names the
// process that holds it.
func Acquire(name string) (*Lock, error) {
	f, err := openLock(name)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := f.Read(holder)
		_ = f.Close()
		return nil, fmt.Errorf("%w (process %s): wait for its end", ErrBusy, strings.TrimSpace(string(holder[:n])))
	}
	if err := f.Truncate(0); err != nil {
		_ = f.Close()
		return nil, err
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Lock{f}, nil
}

// Free returns an error that wraps ErrBusy if somebody holds one of the locks. It takes none: who
// is about to prepare for minutes learns first that it would be for nothing.
func Free(names ...string) error {
	for _, name := range names {
		lock, err := Acquire(name)
		if err != nil {
			return err
		}
		if err := lock.Release(); err != nil {
			return err
		}
	}
	return nil
}

// Release gives the lock up.
func (l *Lock) Release() error { return l.file.Close() }

// Share takes the lock of the given name beside others that share it.
func share(name string) (*Lock, error) {
	f, err := openLock(name)
	if err != nil {
		return nil, err
	}
	return &Lock{f}, flock(f, unix.LOCK_SH)
}

// alone turns a shared lock into an exclusive one, if nobody else shares it.
func (l *Lock) alone() bool {
	return unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// wait takes the lock of the given name as soon as it is free, within startTimeout.
func wait(name string) (*Lock, error) {
	f, err := openLock(name)
	if err != nil {
		return nil, err
	}
	return &Lock{f}, flock(f, unix.LOCK_EX)
}

func flock(f *os.File, how int) error {
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(poll) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			_ = f.Close()
			return fmt.Errorf("%w: %s is locked: %w", ErrBusy, f.Name(), err)
		}
	}
}

func openLock(name string) (*os.File, error) {
	dir, err := lockDir()
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}

// lockDir returns the one directory of this user's locks, whatever TMPDIR and HOME say. Nobody else
// can make it first: /run is root's, and a home, by the password file, its user's.
func lockDir() (string, error) {
	dir := locksDir
	if uid := os.Geteuid(); uid != 0 && dir == defaultLocks {
		person, err := user.LookupId(strconv.Itoa(uid))
		if err != nil {
			return "", err
		}
		dir = filepath.Join(person.HomeDir, "."+filepath.Base(defaultLocks))
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	var info unix.Stat_t
	if err := unix.Lstat(dir, &info); err != nil {
		return "", err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR || int(info.Uid) != os.Geteuid() || info.Mode&0o022 != 0 {
		return "", fmt.Errorf("%s is not a directory that only this user can write: remove it", dir)
	}
	return dir, nil
}
