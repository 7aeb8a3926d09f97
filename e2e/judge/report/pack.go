package report

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// Output is the file in the directory of a scenario's artefacts that has what its process printed.
const Output = "output.log"

// Logs beside the directories of runs: what the last command installed and built, and what one before it did.
const (
	Prepared       = "prepare.log"
	PreparedBefore = "prepare.previous.log"
)

// Pack writes what a bug report about a run needs as a compressed archive, without the
// secrets in it: all that is text, and the logs of what was prepared. Prometheus' samples stay
// behind, for their size. A run that was killed has no summary; what its scenarios have left is
// packed all the same.
func Pack(w io.Writer, dir string, now time.Time) error {
	if _, err := Read(dir); err != nil {
		begun, wrong := filepath.Glob(filepath.Join(dir, "*", Output))
		if !errors.Is(err, fs.ErrNotExist) || len(begun) == 0 {
			return errors.Join(err, wrong)
		}
	}
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	pack := func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() { // a link may lead anywhere
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || strings.HasPrefix(d.Name(), "samples.om") || !utf8.Valid(text) {
			return err
		}
		name, err := filepath.Rel(filepath.Dir(dir), path)
		if err != nil {
			return err
		}
		text = Redact(text)
		h := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(text)), ModTime: now}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err = t.Write(text)
		return err
	}
	roots := []string{dir}
	for _, log := range []string{Prepared, PreparedBefore} {
		log = filepath.Join(filepath.Dir(dir), log)
		if _, err := os.Lstat(log); err == nil { // a run elsewhere has none
			roots = append(roots, log)
		}
	}
	for _, root := range roots {
		if err := filepath.WalkDir(root, pack); err != nil {
			return fmt.Errorf("pack %s: %w", root, err)
		}
	}
	return errors.Join(t.Close(), z.Close())
}
