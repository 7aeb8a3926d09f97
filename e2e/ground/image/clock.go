package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const chaosMesh = "github.com/chaos-mesh/chaos-mesh"

// fakeClocks are what TimeChaos puts in the place of a process's clock_gettime and
// gettimeofday. Chaos Mesh embeds them as objects, which its module has in C only: without them
// the daemon builds, and no TimeChaos is ever injected.
var fakeClocks = []string{"fake_clock_gettime", "fake_gettimeofday"}

// withClocks copies Chaos Mesh's module into the absolute dir, with its fake clocks compiled, and returns a
// go.mod for -modfile that has it in the place of the module. go build's -overlay would do,
// but is refused for what lies in the module cache.
func (s *Store) withClocks(ctx context.Context, dir string) (modfile string, err error) {
	source, err := s.module(ctx, imagesModule, chaosMesh)
	if err != nil {
		return "", err
	}
	tree := filepath.Join(dir, "chaos-mesh")
	if err := errors.Join(os.RemoveAll(tree), os.MkdirAll(dir, 0o755)); err != nil {
		return "", err
	}
	if err := os.CopyFS(tree, os.DirFS(source)); err != nil {
		return "", fmt.Errorf("copy the source of Chaos Mesh: %w", err)
	}
	for _, name := range fakeClocks {
		object := filepath.Join(tree, "pkg/time/fakeclock", name)
		// The flags are those of Chaos Mesh's Makefile. It takes the text of the object as it is and
		// fills in the places of three variables: there may be nothing else to link.
		if err := s.run(ctx, io.Discard, s.project, nil, "gcc", "-c", "-fPIE", "-O2", "-o", object+".o", object+".c"); err != nil {
			return "", fmt.Errorf("compile %s: %w", name, err)
		}
	}
	modfile = filepath.Join(dir, "chaos-daemon.mod")
	for from, to := range map[string]string{"go.mod": modfile, "go.sum": filepath.Join(dir, "chaos-daemon.sum")} {
		content, err := os.ReadFile(filepath.Join(s.project, imagesModule, from))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			return "", err
		}
	}
	return modfile, s.run(ctx, io.Discard, s.project, nil, "go", "mod", "edit", "-replace", chaosMesh+"="+tree, modfile)
}
