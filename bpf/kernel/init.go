package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Where modules are in the initramfs.
const (
	moduleDir = "/lib/modules"
	netemFile = "/lib/sch_netem.ko"
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
	if err := loadModules(); err != nil {
		return err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	fmt.Println("kernel-test: Linux", unix.ByteSliceToString(name.Release[:]))
	return nil
}

// loadModules loads the modules in the order of their names.
func loadModules() error {
	paths, err := filepath.Glob(moduleDir + "/*")
	if err != nil {
		return err
	}
	for _, path := range paths {
		module, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(module.Fd()), "", 0)
		if err := module.Close(); err != nil {
			return err
		}
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

func runTests() error {
	binaries, err := filepath.Glob("/*/*/*.test")
	if err != nil {
		return err
	}
	if len(binaries) == 0 {
		return errors.New("no tests")
	}
	var failed error
	for _, binary := range binaries {
		cmd := exec.Command(binary, "-test.v", "-test.timeout", "30m", "-test.run", strings.Join(os.Args[1:], " "))
		cmd.Dir = filepath.Dir(binary)
		cmd.Env = []string{"CI=true", "KERNEL_TEST=1", "NETEM_TEST_MODULE=" + netemFile, "PATH=/sbin", "HOME=/tmp", "TMPDIR=/tmp"}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
		if err := cmd.Run(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", binary, err))
		}
	}
	return failed
}
