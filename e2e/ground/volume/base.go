package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// errForeign is the error of what is no directory of a volume: it is left alone.
var errForeign = errors.New("no directory of a volume")

// form is that of a volume's name: it holds the claim's UID, of which there is no other.
var form = regexp.MustCompile(`^pvc-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// base is the directory of a machine that holds its volumes, and nothing else. Nothing is made or removed outside it, whatever
// links there are in it.
type base struct {
	path string
	root *os.Root
}

func open(path string) (base, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) == "/" {
		return base{}, fmt.Errorf("%q is no absolute path of a directory for volumes", path)
	}
	root, err := os.OpenRoot(path)
	return base{filepath.Clean(path), root}, err
}

// of is the path of a volume.
func (b base) of(name string) string { return filepath.Join(b.path, name) }

// add makes the directory of a volume, if it is not there. It is as a file system that is new: root's, and who else is to write
// there gets in by the group that Kubernetes gives it.
func (b base) add(name string) error {
	if !form.MatchString(name) {
		return fmt.Errorf("%w: %q", errForeign, name)
	}
	err := b.root.Mkdir(name, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := b.root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%w: %s", errForeign, b.of(name))
	}
	return err
}

// remove removes the directory of a volume, which must be at path, with all that is in it. It does not mind one that is gone.
func (b base) remove(name, path string) error {
	if !form.MatchString(name) || path != b.of(name) {
		return fmt.Errorf("%w: %q of volume %q", errForeign, path, name)
	}
	return b.root.RemoveAll(name)
}
