package netem

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Directory holds a file for each device that is served, named after the inode of
// its network namespace and its index: 4026532008-2.json. The file is locked by the process
// that serves it; one that nobody locks was left by a process that was killed.
const Directory = "/run/x0tta6bl4-tc"

// State is the content of such a file.
type State struct {
	Served  string    `json:"served"` // always Userspace
	Device  string    `json:"device"`
	Handle  string    `json:"handle"`
	Options string    `json:"options"` // as tc shows them
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	// Backpressure tells that packets count against their senders' buffers while they are held.
	Backpressure bool   `json:"backpressure,omitempty"`
	Error        string `json:"error,omitempty"` // why it ended before it was told to
}

// errServed is the error of a device that is served already.
var errServed = errors.New("served already")

// statePath names the file of a device of this thread's network namespace.
func statePath(device string) (string, error) {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return "", err
	}
	ns, err := namespace()
	return filepath.Join(Directory, fmt.Sprintf("%d-%d.json", ns, link.Index)), err
}

func namespace() (inode uint64, err error) {
	var stat unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &stat); err != nil {
		return 0, fmt.Errorf("find the network namespace: %w", err)
	}
	return stat.Ino, nil
}

// claim locks the file for this process, or returns errServed.
func claim(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			err = errServed
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// The one that held it may have removed the file since it was opened.
		ours, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if current, err := os.Stat(path); err == nil && os.SameFile(ours, current) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// write replaces the content of the file.
func (s State) write(f *os.File) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(b, '\n'), 0)
	return err
}

// served reads who serves a device; ok is false if nobody does.
func served(path string) (s State, ok bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, false, nil
	}
	if err != nil {
		return State{}, false, err
	}
	defer f.Close()
	// The kernel knows the holder of the lock, in terms of this PID namespace.
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return State{}, false, fmt.Errorf("%s: %w", path, err)
	}
	if lock.Type == unix.F_UNLCK {
		return State{}, false, nil
	}
	b, err := io.ReadAll(f)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return State{}, false, fmt.Errorf("%s: %w", path, err)
	}
	s.PID = int(lock.Pid)
	return s, true, nil
}

const (
	stopTimeout = 5 * time.Second // to release what is held
	killTimeout = 5 * time.Second
)

// stop ends the process that serves a device and tells whether there was one. It
// has ended when stop returns.
func stop(path string) (bool, error) {
	s, ok, err := served(path)
	if err != nil {
		return false, err
	}
	if !ok {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
			return false, err
		}
		return false, nil
	}
	process, err := unix.PidfdOpen(s.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open process %d: %w", s.PID, err)
	}
	defer unix.Close(process)
	if again, ok, err := served(path); err != nil || !ok || again.PID != s.PID {
		return true, err // it ended by itself: the number may be another's by now
	}
	for _, step := range []struct {
		signal  unix.Signal
		timeout time.Duration
	}{{unix.SIGTERM, stopTimeout}, {unix.SIGKILL, killTimeout}} {
		if err := unix.PidfdSendSignal(process, step.signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return true, fmt.Errorf("signal process %d: %w", s.PID, err)
		}
		if ended(process, step.timeout) {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return true, err
			}
			return true, nil
		}
	}
	return true, fmt.Errorf("process %d does not end", s.PID)
}

// ended waits until a process has ended, or for the timeout.
func ended(process int, timeout time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}
	for until := time.Now().Add(timeout); ; {
		left := time.Until(until)
		if left <= 0 {
			return false
		}
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if n > 0 {
			return true
		}
		if err != nil && err != unix.EINTR {
			return false
		}
	}
}
