package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dataRoot is the engine's own state below stateDir.
func dataRoot() string { return filepath.Join(stateDir, "docker") }

// resetState takes from a stopped engine's state everything but images: containers with their
// writable layers, networks, volumes, and what containerd knew of running ones. An engine that was killed in the
// middle of a change then has no half of one to start with.
func resetState(root string) error {
	if err := removeWritableLayers(root); err != nil {
		return fmt.Errorf("containers' layers: %w", err)
	}
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		switch e.Name() {
		case "image", "overlay2", "engine-id": // images: their descriptions and their layers
		default:
			errs = append(errs, os.RemoveAll(filepath.Join(root, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// removeWritableLayers removes the layer of every container, which the image store lists under its
// mounts: overlay2/ID and ID-init, and a short link to each.
func removeWritableLayers(root string) error {
	mounts, err := filepath.Glob(filepath.Join(root, "image", "overlay2", "layerdb", "mounts", "*"))
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		for _, file := range []string{"mount-id", "init-id"} {
			id, err := os.ReadFile(filepath.Join(mount, file))
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was being made
			}
			if err != nil {
				return err
			}
			name := strings.TrimSpace(string(id))
			if name == "" || name != filepath.Base(name) || name == ".." {
				continue
			}
			dir := filepath.Join(root, "overlay2", name)
			link, err := os.ReadFile(filepath.Join(dir, "link"))
			if err == nil && filepath.Base(string(link)) == string(link) {
				if err := os.Remove(filepath.Join(root, "overlay2", "l", string(link))); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
		// Last: while it is there, the next reset finds what this one did not come to.
		if err := os.RemoveAll(mount); err != nil {
			return err
		}
	}
	return nil
}

// removeGroups removes the control groups of our engine's containers, whose processes have ended.
func removeGroups(ctx context.Context) error {
	var groups []string
	for _, pattern := range []string{"/sys/fs/cgroup/" + cgroupName, "/sys/fs/cgroup/*/" + cgroupName} { // v2 and v1
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		groups = append(groups, found...)
	}
	for deadline := time.Now().Add(stopTimeout); ; {
		var errs []error
		for _, g := range groups {
			errs = append(errs, removeGroup(g))
		}
		err := errors.Join(errs...)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(poll) // the kernel lets go of the last process of a group a little after its end
	}
}

// removeGroup removes a control group with those in it: rmdir(2), since its files cannot be removed.
func removeGroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove control group %s: %w", dir, err)
	}
	return nil
}
