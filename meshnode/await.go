package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
)

// storeRetry is the pause between looks at a store that another process has open.
const storeRetry = 50 * time.Millisecond

// awaitStore waits until no other process has the store of a directory open, or until ctx ends. A pod whose deletion is forced is
// gone for Kubernetes while its processes still end, and the pod in its place finds the same volume. As long as they do, they are the
// node of this name. Only then may another begin to be it: a node counts from its start on for how long it has met no peer.
func awaitStore(ctx context.Context, dir string, tell func(string)) error {
	f, err := os.OpenFile(filepath.Join(dir, store.File), os.O_RDWR, 0) // on NFS a lock needs the right to write
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() // gives the lock back: who opens the store takes its own
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		tell("another process has the store open: it is waited for")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(storeRetry):
		}
	}
}
