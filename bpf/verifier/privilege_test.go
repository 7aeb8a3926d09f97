package verifier

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// TestMain lets the test binary be the process that TestLeastPrivilege starts.
func TestMain(m *testing.M) {
	if os.Getenv("VERIFIER_CHILD") == "" {
		os.Exit(m.Run())
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fmt.Println(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "CapEff:") {
			fmt.Print(line)
		}
	}
	v, err := Open(Config{Interface: "eth0"})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("attached", v.Mode())
	if err := v.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// An ordinary user with three capabilities can open a verifier; with none it is
// told, in one line, which are missing.
func TestLeastPrivilege(t *testing.T) {
	node, _ := lab.TwoHosts(t)
	capabilities := []uintptr{unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON}
	var bits uint64
	for _, c := range capabilities {
		bits |= 1 << c
	}
	const probed = "detect support for XDP: load program: operation not permitted"
	for name, c := range map[string]struct {
		ambient []uintptr
		want    string
		fails   bool
	}{
		"three": {capabilities, fmt.Sprintf("CapEff:\t%016x\nattached %s\n", bits, onVeth(t)), false},
		"none": {nil, fmt.Sprintf("CapEff:\t%016x\nverifier: probe the kernel: XDP programs: %s "+
			"(needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)\n", 0, probed), true},
	} {
		t.Run(name, func(t *testing.T) {
			child := exec.Command("/proc/self/exe")
			child.Env = append(os.Environ(), "VERIFIER_CHILD=1")
			child.SysProcAttr = &syscall.SysProcAttr{
				Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
				AmbientCaps: c.ambient,
			}
			var output []byte
			err := node.Try(func() (err error) {
				output, err = child.CombinedOutput()
				return err
			})
			if string(output) != c.want || (err != nil) != c.fails {
				t.Errorf("child: %v, said\n%s\nwant\n%s", err, output, c.want)
			}
		})
	}
}

func TestErrorFormat(t *testing.T) {
	err := error(&Error{Op: "load", Err: fmt.Errorf("program x: %w", &ebpf.VerifierError{
		Cause: unix.EACCES, Log: []string{"0: first", "1: second", "processed 2 insns"},
	})})
	if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, "permission denied") {
		t.Errorf("not one line with the cause: %q", text)
	}
	for _, line := range []string{"0: first", "1: second"} {
		if !strings.Contains(fmt.Sprintf("%+v", err), line) {
			t.Errorf("%%+v lacks %q: %+v", line, err)
		}
	}
	if strings.Contains(fmt.Sprintf("%v", err), "first") {
		t.Errorf("%%v has the whole log: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	loaded(t, Config{}) // skips where BPF is not permitted
	for want, cfg := range map[string]Config{
		"no interface given":   {},
		`unknown mode "fancy"`: {Interface: "lo", Mode: "fancy"},
		"attach to absent0":    {Interface: "absent0"},
		"xdp-native":           {Interface: "lo", Mode: ModeXDPNative},
	} {
		v, err := Open(cfg)
		var typed *Error
		if !errors.As(err, &typed) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: error %v, want one line with %q", cfg, err, want)
		}
		if v != nil {
			t.Errorf("%+v: a verifier beside the error", cfg)
		}
	}
}
