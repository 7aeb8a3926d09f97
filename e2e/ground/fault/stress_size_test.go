package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Our injector must keep what the released one keeps, and refuse what that cannot read; and both
// what a fixture was judged by.
func TestInjectorReadsSizesAsTheReleasedOne(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc, which also builds the injector: ", err)
	}
	injector := filepath.Join(t.TempDir(), "memStress")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := func(name string, args ...string) (string, error) {
		var out, errOut bytes.Buffer
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errOut, time.Second
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("%w: %s", err, &errOut)
		}
		return strings.TrimSpace(out.String()), nil
	}
	if _, err := run("gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-o", injector, "../../../manifests/images/chaos-daemon/memstress.c"); err != nil {
		t.Fatal(err)
	}
	// keeps runs the injector as the daemon does, which splits its command line at blanks.
	keeps := func(size string) (string, error) {
		return run(injector, append(strings.Fields("--workers 2 --size "+size), "--print")...)
	}
	for size, want := range map[string]uint64{
		"512MB": 512_000_000, "512 MB": 512_000_000, "0.5GB": 500_000_000, "512M": 512_000_000, "512mb": 512_000_000,
		"512MiB": 512 << 20, "512Mi": 512 << 20, "1.5 GiB": 3 << 29, "64KB": 64_000, "64k": 64_000, "64Ki": 64 << 10,
		"2G": 2_000_000_000, "0.001TB": 1_000_000_000, "1TiB": 1 << 40, "4096": 4096, "4096B": 4096, "0.25KiB": 256,
	} {
		if released, err := stressSize(size); err != nil || released != want {
			t.Errorf("the released injector reads %s as %d, not %d: %v", size, released, want, err)
		}
		if got, err := keeps(size); err != nil || got != strconv.FormatUint(want, 10) {
			t.Errorf("ours reads %s as %s, not %d: %v", size, got, want, err)
		}
	}
	for _, size := range []string{"0", "-1MB", "MB", "much", "1..5GB", "1e3", "0x10", "512MBs", "512XB", "512iB", "512 M B", "101%", "inf", strings.Repeat("1", 99)} {
		var exit *exec.ExitError
		if got, err := keeps(size); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%q: got %s, %v", size, got, err)
		}
	}
	for _, args := range [][]string{{"--size"}, {"--size", "1MB", "--workers", "two"}, {"--workers", "0", "--size", "1MB"}, {"--vm", "1"}, nil} {
		var exit *exec.ExitError
		if got, err := run(injector, append([]string{"--print"}, args...)...); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%q: got %s, %v", args, got, err)
		}
	}
}
