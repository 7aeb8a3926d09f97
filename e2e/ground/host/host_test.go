package host

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestMissing(t *testing.T) {
	got := missing([]requirement{{"sh", "dash"}, {"no-such-command", "absent"}, {"/no/such/header.h", "absent"}, {"/etc/passwd", "base-files"}})
	if !slices.Equal(got, []string{"absent"}) {
		t.Errorf("missing = %v, want the one absent package once", got)
	}
}

func TestNeeds(t *testing.T) {
	for p, want := range map[Purpose][3]bool{{}: {true}, {Engine: true}: {true, true}, {Checks: true}: {true, false, true}, {true, true}: {true, true, true}} {
		for i, one := range []requirement{{"gcc", "gcc"}, {"dockerd", "docker.io"}, {"shellcheck", "shellcheck"}} {
			if got := slices.Contains(p.needs(), one); got != want[i] {
				t.Errorf("%+v needs %s: %v, want %v", p, one.pkg, got, want[i])
			}
		}
	}
}

func TestCheckDisk(t *testing.T) {
	if err := checkDisk(t.TempDir(), 1); err != nil {
		t.Errorf("one byte: %v", err)
	}
	err := checkDisk(t.TempDir(), math.MaxUint64)
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("more than any disk: %v", err)
	}
}

func TestCheckKernel(t *testing.T) {
	for release, ok := range map[string]bool{"6.18.44-x": true, "5.15.0": true, "5.14.21": false, "4.19": false} {
		if err := checkKernel(release, "/etc/passwd"); (err == nil) != ok {
			t.Errorf("%s: %v", release, err)
		}
	}
	if err := checkKernel("6.1", "/no/such/file"); !errors.Is(err, ErrMissing) {
		t.Errorf("without BTF: %v", err)
	}
}

func TestHasTCX(t *testing.T) {
	for release, want := range map[string]bool{"6.6.0": true, "6.18.44-x": true, "7.0": true, "6.5.13-generic": false, "5.15.0": false, "of nobody": false} {
		if got := HasTCX(release); got != want {
			t.Errorf("%s: %v, want %v", release, got, want)
		}
	}
}
