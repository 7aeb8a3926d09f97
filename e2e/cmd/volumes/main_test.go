package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestWrongUsageIsSaidInOneLine(t *testing.T) {
	for _, args := range [][]string{
		nil,
		{"-node", "one"},
		{"-dir", "/var/local/x0tta6bl4"},
		{"-node", "one", "-dir", "/var/local/x0tta6bl4", "more"},
	} {
		var errOut bytes.Buffer
		if code := run(t.Context(), args, &errOut); code != 2 {
			t.Errorf("%q: exit code %d", args, code)
		}
		if s := errOut.String(); !strings.HasPrefix(s, "volumes: ") || strings.Count(s, "\n") != 1 {
			t.Errorf("%q: %q", args, s)
		}
	}
}

// TestOutsideACluster: there is nobody to make volumes for.
func TestOutsideACluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
	var errOut bytes.Buffer
	if code := run(t.Context(), []string{"-node", "one", "-dir", t.TempDir()}, &errOut); code != 1 || !strings.HasPrefix(errOut.String(), "volumes: ") {
		t.Errorf("exit code %d: %q", code, errOut.String())
	}
}
