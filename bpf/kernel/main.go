// Command kernel runs the tests of the eBPF programs on another kernel: it takes
// the kernel out of a Debian package, makes an initramfs of itself and the test
// binaries, and boots both in QEMU without hardware acceleration. In the machine
// it is process 1.
//
//	go run ./bpf/kernel -package linux-image-amd64
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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

// testPackages are the packages whose tests are run.
var testPackages = []string{"bpf/frame", "bpf/verifier", "bpf/corruptor"}

func main() {
	if os.Getpid() == 1 {
		initialise()
		return
	}
	pkg := flag.String("package", "linux-image-amd64", "Debian `package` of the kernel, or one that depends on it")
	limit := flag.Duration("timeout", 40*time.Minute, "how long the machine may run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if err := run(ctx, *pkg); err != nil {
		fmt.Fprintln(os.Stderr, "kernel:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, pkg string) (err error) {
	for tool, from := range map[string]string{
		"qemu-system-x86_64": "qemu-system-x86", "apt-get": "apt", "dpkg-deb": "dpkg",
	} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: install the Debian package %s", tool, from)
		}
	}
	work, err := os.MkdirTemp("", "mesh-kernel-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	vmlinuz, veth, err := fetchKernel(ctx, work, pkg)
	if err != nil {
		return err
	}
	files := []entry{{name: "lib/veth.ko", source: veth, mode: 0o644}}
	if err := command(ctx, nil, "go", "build", "-o", filepath.Join(work, "init"), "./bpf/kernel"); err != nil {
		return err
	}
	files = append(files, entry{name: "init", source: filepath.Join(work, "init"), mode: 0o755})
	for _, p := range testPackages {
		binary := filepath.Join(work, filepath.Base(p)+".test")
		if err := command(ctx, nil, "go", "test", "-c", "-o", binary, "./"+p); err != nil {
			return err
		}
		if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
			continue // a package without tests
		}
		// Tests read files beside their source.
		files = append(files, entry{name: p + "/" + filepath.Base(binary), source: binary, mode: 0o755})
	}
	headers, err := filepath.Glob("bpf/headers/*.h")
	if err != nil {
		return err
	}
	for _, h := range headers {
		files = append(files, entry{name: h, source: h, mode: 0o644})
	}
	initramfs := filepath.Join(work, "initramfs")
	if err := writeArchive(initramfs, files); err != nil {
		return fmt.Errorf("write the initramfs: %w", err)
	}
	return boot(ctx, vmlinuz, initramfs)
}

// fetchKernel downloads and unpacks the package, with what it depends on of the
// kernel, and returns the kernel and its veth module. Nothing is installed.
func fetchKernel(ctx context.Context, work, pkg string) (vmlinuz, veth string, err error) {
	packages, err := kernelPackages(ctx, pkg)
	if err != nil {
		return "", "", err
	}
	fmt.Println("kernel: downloading", strings.Join(packages, ", "))
	download := exec.CommandContext(ctx, "apt-get", append([]string{"download", "-qq"}, packages...)...)
	download.Dir, download.Stderr = work, os.Stderr
	if err := download.Run(); err != nil {
		return "", "", fmt.Errorf("apt-get download %s: %w", pkg, err)
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil {
		return "", "", err
	}
	for _, deb := range debs {
		if err := command(ctx, nil, "dpkg-deb", "-x", deb, filepath.Join(work, "root")); err != nil {
			return "", "", err
		}
	}
	for pattern, path := range map[string]*string{
		"root/boot/vmlinuz-*":                                &vmlinuz,
		"root/lib/modules/*/kernel/drivers/net/veth.ko*":     &veth,
		"root/usr/lib/modules/*/kernel/drivers/net/veth.ko*": &veth,
	} {
		found, err := filepath.Glob(filepath.Join(work, pattern))
		if err != nil {
			return "", "", err
		}
		if len(found) == 1 {
			*path = found[0]
		}
	}
	if vmlinuz == "" || veth == "" {
		return "", "", fmt.Errorf("%s has no kernel or no veth module", strings.Join(packages, ", "))
	}
	if plain, ok := strings.CutSuffix(veth, ".xz"); ok { // Debian 13 and later
		if err := command(ctx, nil, "xz", "--decompress", veth); err != nil {
			return "", "", err
		}
		veth = plain
	}
	return vmlinuz, veth, nil
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

// boot runs the machine and copies its console to standard output.
func boot(ctx context.Context, vmlinuz, initramfs string) error {
	console := &strings.Builder{}
	err := command(ctx, io.MultiWriter(os.Stdout, console), "qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048", "-nographic", "-no-reboot", "-nic", "none",
		"-kernel", vmlinuz, "-initrd", initramfs,
		"-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on")
	if err != nil {
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
