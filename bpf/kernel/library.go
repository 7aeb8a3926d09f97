package main

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// system returns the entries of the programs that tests call.
func system(ctx context.Context) ([]entry, error) {
	var files []entry
	for _, tool := range slices.Sorted(maps.Keys(tools)) {
		found, err := withLibraries(ctx, tool, "bin/"+tool)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	loaded, err := filepath.Glob(extensions)
	for _, l := range loaded {
		files = append(files, entry{name: strings.TrimPrefix(l, "/"), source: l, mode: 0o644})
	}
	return files, err
}

// withLibraries returns the initramfs entries of a program of this machine and of the
// shared libraries that it needs, each in its place.
func withLibraries(ctx context.Context, program, target string) ([]entry, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "ldd", path).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", path, err)
	}
	files := []entry{{name: target, source: path, mode: 0o755}}
	for line := range strings.Lines(string(out)) {
		for _, word := range strings.Fields(line) { // "libc.so.6 => /lib/libc.so.6 (0x…)", or the loader's path alone
			if strings.HasPrefix(word, "/") {
				files = append(files, entry{name: strings.TrimPrefix(word, "/"), source: word, mode: 0o755})
			}
		}
	}
	return files, nil
}
