package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

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
