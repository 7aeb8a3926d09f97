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
