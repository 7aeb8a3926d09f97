package host

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeApt puts an apt-get into PATH that notes its arguments and does what the cases say.
func fakeApt(t *testing.T, cases string) (calls func() string) {
	t.Helper()
	if os.Geteuid() != 0 {
		unable(t, "installing needs root")
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$*\" >>" + log + "\ncase \"$*\" in\n" + cases + "\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

func TestInstallingTakesNothingAway(t *testing.T) {
	calls := fakeApt(t, "")
	if err := install(t.Context(), t.TempDir(), []string{"docker.io", "runc"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(calls(), " install "); n != 1 {
		t.Errorf("apt-get was asked %d times to install, want once", n)
	}
	for line := range strings.Lines(calls()) {
		if !strings.Contains(line, " install ") {
			continue
		}
		for _, want := range []string{"--no-remove", "--no-upgrade", "--no-install-recommends", "docker.io runc"} {
			if !strings.Contains(line, want) {
				t.Errorf("apt-get %s lacks %s", line, want)
			}
		}
	}
	fakeApt(t, "*install*) echo 'E: Packages need to be removed but remove is disabled.' >&2; exit 100;;")
	if err := install(t.Context(), t.TempDir(), []string{"containerd"}, io.Discard); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "would take other packages away") {
		t.Errorf("a conflict: %v", err)
	}
}

func TestOneBrokenSourceDoesNotStopUs(t *testing.T) {
	const broken = "*update*) echo 'E: The repository https://third.invalid does not have a Release file.' >&2; exit 100;;\n"
	calls := fakeApt(t, broken)
	if err := install(t.Context(), t.TempDir(), []string{"runc"}, io.Discard); err != nil {
		t.Errorf("a broken source: %v", err)
	}
	if n := strings.Count(calls(), " install "); n != 1 {
		t.Errorf("apt-get was asked %d times to install, want once", n)
	}
	fakeApt(t, broken+"*install*) echo 'E: Unable to locate package runc' >&2; exit 100;;")
	err := install(t.Context(), t.TempDir(), []string{"runc"}, io.Discard)
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "locate package runc") || !strings.Contains(err.Error(), "third.invalid") {
		t.Errorf("a package that cannot be had: %v, want both reasons", err)
	}
}

// A package's scripts call these by their paths. The unit that is asked for does not exist, so that the real tools, were they
// reached, would fail and change nothing.
func TestNoServiceIsEnabledOrStarted(t *testing.T) {
	const unit = "x0tta6bl4-no-such-unit"
	reached := filepath.Join(t.TempDir(), "reached")
	fakeApt(t, `*install*)
	for tool in /usr/bin/deb-systemd-helper /usr/bin/deb-systemd-invoke /usr/sbin/invoke-rc.d /usr/sbin/update-rc.d; do
		test -e $tool || continue
		out=$($tool --quiet is-enabled `+unit+`.service 2>&1) && test -z "$out" || echo "$tool: $out" >>`+reached+`
		echo called >>`+reached+`.called
	done;;`)
	if err := install(t.Context(), t.TempDir(), []string{"docker.io"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(reached + ".called"); err != nil {
		t.Skip("this machine has no service tools")
	}
	if b, err := os.ReadFile(reached); err == nil {
		t.Errorf("a package's script reached\n%s", b)
	}
	if b, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(b), "deb-systemd") {
		t.Errorf("the stand-ins are mounted outside: %v", err)
	}
}
