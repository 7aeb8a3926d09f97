// Command kernel runs tests on another kernel: those of the eBPF programs, those of what reads and writes
// control groups, in groups of version 2, and those of the netem stand-in, beside the kernel's own netem. It
// takes the kernel out of a Debian package, makes an initramfs of itself and the test binaries, and boots both in
// QEMU without hardware acceleration. In the machine it is process 1.
//
// The package user-mode-linux has a kernel that runs as a process, at full speed and without QEMU. It has no
// types for eBPF programs (BTF): those are left out.
//
//	go run ./bpf/kernel -package linux-image-amd64
//	go run ./bpf/kernel -package user-mode-linux
//	go run ./bpf/kernel -only e2e/ground/netem -run AgainstTheKernel
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// passed is the line by which process 1 tells the outside of success.
const passed = "kernel-test: passed"

func main() {
	if os.Getpid() == 1 {
		initialise()
		return
	}
	pkg := flag.String("package", "linux-image-amd64", "Debian `package` of the kernel, or one that depends on it")
	only := flag.String("only", "", "run the tests of one `directory` only")
	tests := flag.String("run", "", "run only the tests that match `regexp`")
	limit := flag.Duration("timeout", 55*time.Minute, "how long the machine may run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if err := run(ctx, *pkg, *only, *tests); err != nil {
		fmt.Fprintln(os.Stderr, "kernel:", err)
		os.Exit(1)
	}
}

// userMode is the package whose kernel is a program.
const userMode = "user-mode-linux"

func run(ctx context.Context, pkg, only, tests string) (err error) {
	packages, err := chosen(only, pkg != userMode)
	if err != nil {
		return err
	}
	if err := requirements(pkg); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "mesh-kernel-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	kernel, files, err := fetchKernel(ctx, work, pkg)
	if err != nil {
		return err
	}
	system, err := system(ctx)
	if err != nil {
		return err
	}
	files = append(files, system...)
	if err := command(ctx, nil, "go", "build", "-o", filepath.Join(work, "init"), "./bpf/kernel"); err != nil {
		return err
	}
	files = append(files, entry{name: "init", source: filepath.Join(work, "init"), mode: 0o755})
	for i, p := range packages {
		binary := filepath.Join(work, filepath.Base(p.dir)+".test")
		if err := command(ctx, nil, "go", "test", "-c", "-ldflags", "-s -w", "-o", binary, "./"+p.dir); err != nil {
			return err
		}
		files = append(files, entry{name: testBinary(p.dir), source: binary, mode: 0o755})
		if tests != "" {
			packages[i].run = tests
		}
	}
	list := filepath.Join(work, "list")
	if err := writeList(list, packages); err != nil {
		return err
	}
	files = append(files, entry{name: strings.TrimPrefix(listFile, "/"), source: list, mode: 0o644})
	headers, err := filepath.Glob("bpf/headers/*.h") // which tests read
	if err != nil {
		return err
	}
	for _, h := range headers {
		files = append(files, entry{name: h, source: h, mode: 0o644})
	}
	if pkg == userMode {
		return start(ctx, kernel, work, files)
	}
	initramfs := filepath.Join(work, "initramfs")
	if err := writeArchive(initramfs, files); err != nil {
		return fmt.Errorf("write the initramfs: %w", err)
	}
	return boot(ctx, kernel, initramfs)
}

// requirements names the first program that this machine lacks for a kernel.
func requirements(pkg string) error {
	needed := maps.Clone(tools)
	needed["apt-get"], needed["dpkg-deb"], needed["ldd"] = "apt", "dpkg", "libc-bin"
	if pkg != userMode {
		needed["qemu-system-x86_64"] = "qemu-system-x86"
	}
	for _, tool := range slices.Sorted(maps.Keys(needed)) {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: install the Debian package %s", tool, needed[tool])
		}
	}
	return nil
}

// fetchKernel downloads and unpacks the package, with what it depends on of the
// kernel, and returns the file of the kernel and its modules as entries of the initramfs, in the order
// in which they are to be loaded. Nothing is installed.
func fetchKernel(ctx context.Context, work, pkg string) (kernel string, modules []entry, err error) {
	packages, err := kernelPackages(ctx, pkg)
	if err != nil {
		return "", nil, err
	}
	fmt.Println("kernel: downloading", strings.Join(packages, ", "))
	download := exec.CommandContext(ctx, "apt-get", append([]string{"download", "-qq"}, packages...)...)
	download.Dir, download.Stderr = work, os.Stderr
	if err := download.Run(); err != nil {
		return "", nil, fmt.Errorf("apt-get download %s: %w", pkg, err)
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil {
		return "", nil, err
	}
	root := filepath.Join(work, "root")
	for _, deb := range debs {
		if err := command(ctx, nil, "dpkg-deb", "-x", deb, root); err != nil {
			return "", nil, err
		}
	}
	file := "boot/vmlinuz-*"
	if pkg == userMode {
		file = "usr/bin/linux.uml"
	}
	found, err := filepath.Glob(filepath.Join(root, file))
	if err != nil {
		return "", nil, err
	}
	if len(found) != 1 {
		return "", nil, fmt.Errorf("%s has no kernel", strings.Join(packages, ", "))
	}
	paths, err := modulePaths(ctx, root, loadedModules)
	if err != nil {
		return "", nil, err
	}
	for i, p := range paths {
		modules = append(modules, entry{name: fmt.Sprintf("%s/%02d-%s", strings.TrimPrefix(moduleDir, "/"), i, filepath.Base(p)), source: p, mode: 0o644})
	}
	netem, err := modulePaths(ctx, root, []string{netemModule})
	if err != nil {
		return "", nil, err
	}
	if len(netem) == 1 { // it depends on none
		modules = append(modules, entry{name: strings.TrimPrefix(netemFile, "/"), source: netem[0], mode: 0o644})
	}
	return found[0], modules, nil
}

// kernelPackages returns pkg and the packages that make up its kernel: a
// metapackage depends on one, and newer ones are split.
func kernelPackages(ctx context.Context, pkg string) ([]string, error) {
	packages := []string{pkg}
	for i := 0; i < len(packages); i++ {
		depends, err := exec.CommandContext(ctx, "apt-cache", "depends", packages[i]).Output()
		if err != nil {
			return nil, fmt.Errorf("apt-cache depends %s: %w; run apt-get update first", packages[i], err)
		}
		for line := range strings.Lines(string(depends)) {
			name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: ")
			if ok && kernelPart.MatchString(name) && !slices.Contains(packages, name) {
				packages = append(packages, name)
			}
		}
	}
	return packages, nil
}

var kernelPart = regexp.MustCompile(`^linux-(image|binary|modules)-`)

// boot runs the machine in QEMU.
func boot(ctx context.Context, vmlinuz, initramfs string) error {
	return machine(ctx, "qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048", "-nographic", "-no-reboot", "-nic", "none",
		"-kernel", vmlinuz, "-initrd", initramfs, "-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on")
}

// start runs the machine as a process, on a directory of its files below work.
func start(ctx context.Context, kernel, work string, files []entry) error {
	root := filepath.Join(work, "machine")
	for _, f := range files {
		to := filepath.Join(root, f.name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		b, err := os.ReadFile(f.source)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, b, fs.FileMode(f.mode)); err != nil {
			return err
		}
	}
	// A kernel that panics ends: with panic=-1 it would begin again, for ever.
	return machine(ctx, kernel, "mem=1024M", "rootfstype=hostfs", "root=/dev/root", "rootflags="+root, "rw", "init=/init", "quiet", "con=null", "con0=null,fd:1")
}

// machine runs a machine, copies its console to standard output, and sees that its tests passed.
func machine(ctx context.Context, name string, args ...string) error {
	console := &strings.Builder{}
	if err := command(ctx, io.MultiWriter(os.Stdout, console), name, args...); err != nil {
		return err
	}
	if !strings.Contains(console.String(), passed) {
		return errors.New("the tests did not pass")
	}
	return nil
}

// command runs a command with its output to out, or to standard error.
func command(ctx context.Context, out io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if out == nil {
		cmd.Stdout = os.Stderr
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), errors.Join(err, ctx.Err()))
	}
	return nil
}
