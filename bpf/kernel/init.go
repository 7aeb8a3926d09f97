package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Where things are in the machine.
const (
	moduleDir = "/lib/modules"
	netemFile = "/lib/sch_netem.ko"
	listFile  = "/tests"
	groups    = "/sys/fs/cgroup"
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
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"}, {"cgroup2", groups},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.target, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	// User-mode Linux may have none.
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
		fmt.Println("kernel-test: no BPF file system:", err)
	}
	if err := enableControllers(); err != nil {
		return err
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

// enableControllers lets control groups limit all that the kernel can, as systemd does.
func enableControllers() error {
	b, err := os.ReadFile(groups + "/cgroup.controllers")
	if err != nil {
		return err
	}
	var all []string
	for name := range strings.FieldsSeq(string(b)) {
		all = append(all, "+"+name)
	}
	return os.WriteFile(groups+"/cgroup.subtree_control", []byte(strings.Join(all, " ")), 0)
}

// runTests runs the tests of every package that was packed.
func runTests() error {
	packages, err := readList(listFile)
	if err != nil {
		return err
	}
	var failed error
	for _, p := range packages {
		binary := "/" + testBinary(p.dir)
		fmt.Println("kernel-test: tests of", p.dir)
		cmd := exec.Command(binary, "-test.v", "-test.timeout", "30m", "-test.run", p.run)
		cmd.Dir = filepath.Dir(binary)
		cmd.Env = []string{"CI=true", "KERNEL_TEST=1", "NETEM_TEST_MODULE=" + netemFile, "PATH=/bin", "HOME=/tmp", "TMPDIR=/tmp"}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
		if err := cmd.Run(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", binary, err))
		}
	}
	return failed
}

// testBinary is where the tests of a package are in the machine: beside what they read of its source.
func testBinary(dir string) string { return path.Join(dir, path.Base(dir)+".test") }

// writeList writes which tests are packed, for readList: a line each, the directory and what -test.run takes.
func writeList(file string, packages []testPackage) error {
	var lines strings.Builder
	for _, p := range packages {
		fmt.Fprintln(&lines, p.dir, p.run)
	}
	return os.WriteFile(file, []byte(lines.String()), 0o644)
}

// readList returns what writeList wrote. That there are no tests is an error.
func readList(file string) (packages []testPackage, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		dir, run, _ := strings.Cut(strings.TrimSpace(line), " ")
		packages = append(packages, testPackage{dir: dir, run: run})
	}
	if len(packages) == 0 {
		return nil, errors.New("no tests")
	}
	return packages, nil
}
