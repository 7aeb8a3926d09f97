package certify

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// certificates is where they are kept.
const certificates = "../../certificates"

// TestCertificatesAreFresh fails when what a certificate is about has changed since.
// Work goes on without: it runs as `make certify-check`, before a release and every night.
func TestCertificatesAreFresh(t *testing.T) {
	if !Full() {
		t.Skipf("only with %s set: a change makes certificates stale, and only a run of hours makes them fresh", Env)
	}
	paths, err := filepath.Glob(certificates + "/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no certificates: %v", err)
	}
	for _, path := range paths {
		c, err := Read(path)
		if err != nil {
			t.Error(err)
		} else if err := c.Check(); err != nil {
			t.Error(err)
		}
	}
}

// TestAChangeMakesACertificateStale writes one of this package and changes each thing
// that it depends on.
func TestAChangeMakesACertificateStale(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{
		"go.mod":          "module example.org/m\n\ngo 1.26\n",
		"a/a.go":          "package a\n\nimport _ \"example.org/m/b\"\n",
		"a/all_test.go":   "package a\n",
		"a/other_test.go": "package a\n",
		"b/b.go":          "package b\n\nimport _ \"embed\"\n\n//go:embed data\nvar data string\n",
		"b/data":          "x",
		"c/c.go":          "package c\n",
	}
	for name, content := range files {
		write(name, content)
	}
	t.Chdir(dir)
	c := Certificate{Name: "x", Packages: []string{"example.org/m/a"}, Tests: []string{"all_*"}}
	var err error
	if c.Sources, err = Sources(c.Packages, c.Tests); err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct {
		file  string
		stale bool
	}{{"a/a.go", true}, {"a/all_test.go", true}, {"b/b.go", true}, {"b/data", true}, {"a/other_test.go", false}, {"c/c.go", false}} {
		write(change.file, files[change.file]+"\n// changed\n")
		if err := c.Check(); errors.Is(err, ErrStale) != change.stale || err != nil && !change.stale {
			t.Errorf("%s changed: %v, want stale %v", change.file, err, change.stale)
		}
		write(change.file, files[change.file])
		if err := c.Check(); err != nil {
			t.Errorf("%s as it was: %v", change.file, err)
		}
	}
	write("a/more.go", "package a\n")
	if err := c.Write(dir); !errors.Is(err, ErrStale) {
		t.Errorf("a file more while all is gone through: %v", err)
	}
}
