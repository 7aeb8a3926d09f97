package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// promtool comes from the same module as the Prometheus that is deployed, and shares
// its flags, so that most of it is compiled once for both.
var promtool = binaries{
	what: "promtool", module: imagesModule,
	packages: []string{"github.com/prometheus/prometheus/cmd/promtool"},
	tags:     prometheus.tags,
}

// Promtool builds the promtool of the Prometheus that is deployed into dir and returns
// its path. It needs no engine. project is the root of this project.
func Promtool(ctx context.Context, project, dir string) (string, error) {
	// One process at a time: two would compile the same packages beside each other. It is the
	// directory that is locked, as go itself locks the go.mod in it.
	recipe, err := os.Open(filepath.Join(project, imagesModule))
	if err != nil {
		return "", fmt.Errorf("build promtool: %w", err)
	}
	defer recipe.Close()
	if err := syscall.Flock(int(recipe.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("build promtool: lock %s: %w", recipe.Name(), err)
	}
	s := &Store{project: project, dir: dir, log: io.Discard}
	return filepath.Join(dir, promtool.what), s.compile(ctx, promtool, dir, io.Discard)
}
