package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestTokenIsReadAnew: a token that was replaced counts within a second, and one that is missing is not remembered.
func TestTokenIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	bubble.Test(t, func(t *testing.T) {
		token := readToken(file)
		want := func(want string) {
			t.Helper()
			if got, err := token(); got != want || (err == nil) != (want != "") {
				t.Errorf("%q (%v), want %q", got, err, want)
			}
		}
		write := func(content string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want("")
		write(" one\n")
		want("one")
		write("two")
		time.Sleep(tokenKept - time.Millisecond)
		want("one")
		time.Sleep(time.Millisecond)
		want("two")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tokenKept)
		want("")
		write("two")
		want("two")
	})
}
