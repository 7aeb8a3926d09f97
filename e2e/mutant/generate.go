//go:build ignore

// Generate writes the constants of the seeded defects into meshnode/internal/mutant.
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/x0tta6bl4/mesh/e2e/mutant"
)

func main() {
	if err := write("../../meshnode/internal/mutant"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// write writes the generated files into dir, and removes those that are not generated any
// more.
func write(dir string) error {
	files := mutant.Files()
	old, err := filepath.Glob(filepath.Join(dir, "*_o[nf]*.go"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range old {
		if _, ok := files[filepath.Base(path)]; !ok {
			errs = append(errs, os.Remove(path))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o644))
	}
	return errors.Join(errs...)
}
