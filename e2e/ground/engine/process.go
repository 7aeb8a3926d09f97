package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process is named by its id and its start time, in ticks since the machine booted
// (proc_pid_stat(5), field 22): an id alone comes to mean another process.

// stampProcess returns what a process file holds for pid.
func stampProcess(pid int) (string, error) {
	started, err := startTime(pid)
	return fmt.Sprintf("%d %d\n", pid, started), err
}

func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field, the command's name in parentheses, may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// openProcess returns a descriptor of the process that the file names (pidfd_open(2)), or -1
// if it has ended. A pidfd cannot come to mean another process.
func openProcess(file string) (fd int, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	var pid int
	var started uint64
	if _, err := fmt.Sscanf(string(b), "%d %d", &pid, &started); err != nil || pid <= 1 {
		return -1, nil // its writer was killed in the middle: what it was about to name had not begun
	}
	if fd, err = unix.PidfdOpen(pid, 0); err != nil {
		return -1, nil // it has ended
	}
	// Only now: the process that is looked at is the one that the descriptor holds.
	if now, err := startTime(pid); err != nil || now != started || ended(fd, 0) {
		_ = unix.Close(fd)
		return -1, nil
	}
	return fd, nil
}

// EndProcess ends the process that the file names by id and start time, "PID START\n", asking first and
// killing it when it does not end within a minute or by ctx's deadline. The file may be absent.
func EndProcess(ctx context.Context, file string) error {
	fd, err := openProcess(file)
	if err != nil || fd < 0 {
		return err
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(stopTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		return nil // it has ended
	}
	if ended(fd, time.Until(deadline)) {
		return nil
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	if !ended(fd, killTimeout) {
		return fmt.Errorf("the process of %s does not end", file)
	}
	return nil
}

// ended waits until the process behind the pidfd has ended.
func ended(fd int, wait time.Duration) bool {
	for end := time.Now().Add(wait); ; {
		left := max(time.Until(end), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return n > 0
	}
}
