package control

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

var (
	chaosKind = regexp.MustCompile(`(?m)^kind: (\w+Chaos|Schedule)$`)
	// aLabel is the first label of a selector; none of its pods has another value's.
	aLabel = regexp.MustCompile(`(labelSelectors:\n\s+[\w./-]+: )\S+`)
)

// nobody is a label's value that no pod has.
const nobody = "nobody"

// EmptyFixtures writes fixtures into dir as they are, but for the selectors of Chaos Mesh's
// objects, which match nothing.
func EmptyFixtures(fixtures fs.FS, dir string) error {
	names, err := fs.Glob(fixtures, "*.yaml")
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := fs.ReadFile(fixtures, name)
		if err != nil {
			return err
		}
		if chaosKind.Match(b) {
			if !aLabel.Match(b) {
				return fmt.Errorf("%s selects by no label: it cannot be made to match nothing", name)
			}
			b = aLabel.ReplaceAll(b, []byte("${1}"+nobody))
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Selects reports whether a fixture can be made to match nothing. The other faults are in a pod
// that is named, or come from one of their own.
func Selects(fixture []byte) bool { return chaosKind.Match(fixture) && aLabel.Match(fixture) }
