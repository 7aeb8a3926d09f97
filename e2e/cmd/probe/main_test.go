package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/observe/probe/echo"
)

func TestParsePeers(t *testing.T) {
	peers, err := parsePeers("a=10.0.0.1,b=2001:db8::1", echo.Port)
	if err != nil || len(peers) != 2 || peers[0].Name != "a" || peers[1].Addr.String() != "[2001:db8::1]:26971" {
		t.Fatalf("got %v, %v", peers, err)
	}
}

func TestWrongUsageIsSaidInOneLine(t *testing.T) {
	for _, args := range [][]string{
		{"-pod", "a"},
		{"-pod", "a", "-peers", "b"},
		{"-pod", "a", "-peers", "=10.0.0.1"},
		{"-pod", "a", "-peers", "b=nowhere"},
		{"-peers", "b=10.0.0.1"},
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), args, &out, &errOut); code != 2 {
			t.Errorf("%q: exit code %d", args, code)
		}
		if s := errOut.String(); !strings.HasPrefix(s, "probe: ") || strings.Count(s, "\n") != 1 || out.Len() > 0 {
			t.Errorf("%q: %q", args, s)
		}
	}
}
