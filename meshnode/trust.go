package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

const (
	// trustCheck is how often the mounted trust bundle is compared.
	trustCheck = 5 * time.Second
	// reenrolTimeout bounds one attempt to enrol under a new root.
	reenrolTimeout = time.Minute
)

// followTrust enrols anew when the trust bundle names another root: the
// authority keeps its key in memory, and a new pod of it means a new root. Nodes
// that kept the old one could not talk to those that start after. Sessions that
// exist go on.
func followTrust(ctx context.Context, e *identity.Enroller, n *identity.Node, logger *slog.Logger) {
	file := filepath.Join(e.TrustDir, identity.TrustRootFile)
	last, err := os.ReadFile(file)
	if err != nil {
		logger.Warn("trust bundle", "error", err)
	}
	ticker := time.NewTicker(trustCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := os.ReadFile(file)
		if err != nil || bytes.Equal(now, last) {
			continue // it is being replaced, or the same
		}
		logger.Info("the mesh has a new root, enrolling under it")
		attempt, cancel := context.WithTimeout(ctx, reenrolTimeout)
		fresh, err := e.Enrol(attempt)
		cancel()
		if err != nil {
			logger.Error("not enrolled under the new root, will retry", "error", err)
			continue
		}
		n.Update(fresh.Credential(), fresh.Trust())
		last = now
	}
}
