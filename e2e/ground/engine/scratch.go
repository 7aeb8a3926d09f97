package engine

import (
	"fmt"
	"os"
	"path/filepath"
)

// Dir returns this user's directory for what outlives a run: StateDir, or a cache where that is root's.
func Dir() (string, error) {
	if os.Geteuid() == 0 {
		return stateDir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for images: %w", err)
	}
	return filepath.Join(cache, "x0tta6bl4-e2e"), nil
}

// Scratch returns an empty directory for what the holder of the lock of that name needs for a while.
// What it held before, of a holder that was killed, is gone.
func Scratch(lock string) (string, error) {
	dir, err := ScratchDir(lock)
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// ScratchDir names that directory.
func ScratchDir(lock string) (string, error) {
	dir, err := Dir()
	return filepath.Join(dir, "scratch", lock), err
}
