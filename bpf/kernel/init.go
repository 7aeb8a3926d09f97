package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// initialise is process 1: it prepares the machine, runs every test binary, says
// how it went, and switches the machine off.
func initialise() {
	err := prepare()
	if err == nil {
		err = runTests()
	}
	if err != nil {
		fmt.Println("kernel-test: failed:", err)
	} else {
		fmt.Println(passed)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("kernel-test: power off:", err) // process 1 ends: the kernel panics and QEMU stops
	}
}

func prepare() error {
	for _, m := range []struct{ kind, target string }{
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"}, {"bpf", "/sys/fs/bpf"},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.target, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	module, err := os.Open("/lib/veth.ko")
	if err != nil {
		return err
	}
	defer module.Close()
	if err := unix.FinitModule(int(module.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load the veth module: %w", err)
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	fmt.Println("kernel-test: Linux", unix.ByteSliceToString(name.Release[:]))
	return nil
}

func runTests() error {
	binaries, err := filepath.Glob("/bpf/*/*.test")
	if err != nil {
		return err
	}
	if len(binaries) == 0 {
		return errors.New("no tests")
	}
	var failed error
	for _, binary := range binaries {
		cmd := exec.Command(binary, "-test.v", "-test.timeout", "30m")
		cmd.Dir = filepath.Dir(binary)
		cmd.Env = []string{"CI=true", "PATH=/", "HOME=/tmp", "TMPDIR=/tmp"}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
		if err := cmd.Run(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", binary, err))
		}
	}
	return failed
}
