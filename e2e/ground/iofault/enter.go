package iofault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// namespaceVariable is set by `nsexec -l` to the descriptor of the mount namespace that the
	// command is to enter: its own file is outside.
	namespaceVariable = "NSEXEC_MNT"
	// deviceVariable is set to the descriptor of /dev/fuse, which a container need not have.
	deviceVariable = "X0TTA6BL4_IOFAULT_DEVICE"
	// loader and entrance start a program that needs the libraries from outside in the
	// namespace: entrance enters it once they are loaded.
	loader   = "/lib64/ld-linux-x86-64.so.2"
	entrance = "/usr/local/lib/libnsenter.so"
)

// enter executes this command again in the container's mount namespace, or a released toda
// if the image has one.
func enter(args []string) error {
	// The thread that executes becomes the process, and nsexec had set this for another
	// one: the end of nsexec is a reason to recover.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	if released, err := releasedToda(); err != nil {
		return err
	} else if released != "" {
		argv := append([]string{loader, "--preload", entrance, released}, args...)
		return fmt.Errorf("execute %s: %w", released, unix.Exec(loader, argv, os.Environ()))
	}
	namespace, err := strconv.Atoi(os.Getenv(namespaceVariable))
	if err != nil {
		return fmt.Errorf("%s: %w", namespaceVariable, err)
	}
	device, err := unix.Open("/dev/fuse", unix.O_RDWR, 0) // to be inherited
	if err != nil {
		return fmt.Errorf("open /dev/fuse (the daemon must be privileged, on a kernel with FUSE): %w", err)
	}
	// A thread that shares its root with others cannot enter a mount namespace. Those
	// end when it executes.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(namespace, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter the mount namespace: %w", err)
	}
	unix.CloseOnExec(namespace)
	env := []string{deviceVariable + "=" + strconv.Itoa(device)}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, namespaceVariable+"=") {
			env = append(env, e)
		}
	}
	return fmt.Errorf("execute: %w", unix.Exec("/proc/self/exe", append([]string{"toda"}, args...), env))
}

// releasedToda finds a toda in PATH that is not this one. "" is none.
func releasedToda() (string, error) {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", err
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, "toda")
		if info, err := os.Stat(path); err == nil && !info.IsDir() && !os.SameFile(self, info) {
			return path, nil
		}
	}
	return "", nil
}

// openDevice returns /dev/fuse: the one that was inherited, or its own.
func openDevice() (*os.File, error) {
	if inherited := os.Getenv(deviceVariable); inherited != "" {
		fd, err := strconv.Atoi(inherited)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", deviceVariable, err)
		}
		unix.CloseOnExec(fd)
		return os.NewFile(uintptr(fd), "/dev/fuse"), errors.Join(os.Unsetenv(deviceVariable))
	}
	// As a plain descriptor: Go would make it non-blocking, and go-fuse waits in read(2).
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w", err)
	}
	return os.NewFile(uintptr(fd), "/dev/fuse"), nil
}
