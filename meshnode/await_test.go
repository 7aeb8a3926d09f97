package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
)

// TestASuccessorWaitsForTheStore: as long as another process has it open, and no longer; where there is none yet, not at all.
func TestASuccessorWaitsForTheStore(t *testing.T) {
	dir := t.TempDir()
	never := func(why string) { t.Errorf("it waits: %s", why) }
	if err := awaitStore(t.Context(), dir, never); err != nil {
		t.Errorf("where there is none: %v", err)
	}
	held, err := os.Create(filepath.Join(dir, store.File)) // each opening has a lock of its own, as each process has
	if err != nil {
		t.Fatal(err)
	}
	if err := awaitStore(t.Context(), dir, never); err != nil {
		t.Errorf("one that nobody has open: %v", err)
	}
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := awaitStore(ctx, dir, func(string) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("one that another has open: %v", err)
	}
	told := 0
	if err := awaitStore(t.Context(), dir, func(string) {
		if told++; told == 2 {
			_ = held.Close() // as when a process ends
		}
	}); err != nil || told != 2 {
		t.Errorf("one that another had open: %v, told %d times", err, told)
	}
	if err := awaitStore(t.Context(), dir, never); err != nil {
		t.Errorf("after that: %v", err)
	}
}
