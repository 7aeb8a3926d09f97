package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrBusy is the error when another process of this suite holds a lock.
var ErrBusy = errors.New("another run is at work on this machine")

// Lock is a lock of this machine that ends with the process at the latest.
type Lock struct{ file *os.File }

// Acquire takes the lock of the given name; the error wraps ErrBusy and names the
// process that holds it.
func Acquire(name string) (*Lock, error) {
	path := filepath.Join(os.TempDir(), "x0tta6bl4-e2e-"+name+".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := f.Read(holder)
		f.Close()
		return nil, fmt.Errorf("%w (process %s): wait for its end", ErrBusy, strings.TrimSpace(string(holder[:n])))
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		f.Close()
		return nil, err
	}
	return &Lock{f}, nil
}

// Release gives the lock up.
func (l *Lock) Release() error { return l.file.Close() }
