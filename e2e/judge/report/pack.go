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

// Pack writes what a bug report about a run needs as a compressed archive, without the
// secrets in it: all that is text. Prometheus' samples stay behind, for their size.
func Pack(w io.Writer, dir string, now time.Time) error {
	if _, err := Read(dir); err != nil {
		return err
	}
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
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
	})
	if err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return errors.Join(t.Close(), z.Close())
}
