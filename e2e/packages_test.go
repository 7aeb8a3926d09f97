package e2e

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
)

// mostFiles is how many files a package may have before it needs a map.
const mostFiles = 6

// TestPackagesHaveMaps sees that a package of many files has a doc.go with a map, and that
// maps name the files that there are, and no others.
func TestPackagesHaveMaps(t *testing.T) {
	if !testing.Short() {
		t.Skip("a run of the suite judges the mesh: -short runs this")
	}
	root, err := cluster.Project()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"bpf", "e2e", "meshnode"} {
		for _, wrong := range lost(t, os.DirFS(filepath.Join(root, dir))) {
			t.Errorf("%s/%s", dir, wrong)
		}
	}
}

// TestSpecsAreShort: a scenario's specs fit on a few screens. What is longer belongs to package scenario.
func TestSpecsAreShort(t *testing.T) {
	if !testing.Short() {
		t.Skip("a run of the suite judges the mesh: -short runs this")
	}
	const most = 130 // lines
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	specs := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), "\nvar _ = describe(") {
			continue
		}
		specs++
		if lines := strings.Count(string(b), "\n"); lines > most {
			t.Errorf("%s has %d lines, at most %d", file, lines, most)
		}
	}
	if specs < 10 {
		t.Errorf("%d files of specs were found: the test proves nothing", specs)
	}
}

func TestMapsAreJudged(t *testing.T) {
	files := fstest.MapFS{}
	for _, f := range []string{"a", "b", "c", "d", "e", "f", "g_amd64"} {
		files["many/"+f+".go"] = &fstest.MapFile{}
		files["few/"+f+"_test.go"] = &fstest.MapFile{}
	}
	if got := lost(t, files); len(got) != 1 || !strings.Contains(got[0], "many has 7 files and no map") {
		t.Errorf("no map: %q", got)
	}
	const page = "// Package many is.\n//\n//\tnot, a map\n//\n// # Map\n//\n//\ta, b  the first\n//\tc, d, e, f, g\n//\t       the second\n//\n// More:\n//\n//\tprov*, gone  the third\npackage many\n"
	files["many/doc.go"] = &fstest.MapFile{Data: []byte(page)}
	files["many/provable.go"] = &fstest.MapFile{}
	if got := lost(t, files); len(got) != 1 || !strings.Contains(got[0], "many/doc.go names gone") {
		t.Errorf("a stale name: %q", got)
	}
	files["many/doc.go"] = &fstest.MapFile{Data: []byte(strings.Replace(page, ", gone", "", 1))}
	files["many/many_bpfel.go"] = &fstest.MapFile{}
	if got := lost(t, files); len(got) != 0 {
		t.Errorf("a good map: %q", got)
	}
	files["many/late_linux_arm64.go"] = &fstest.MapFile{}
	if got := lost(t, files); len(got) != 1 || !strings.Contains(got[0], "many/doc.go does not name late,") {
		t.Errorf("a file that is in no map: %q", got)
	}
}

var (
	mapLine = regexp.MustCompile(`(?m)^//\t(\S.*?)(?:  .*)?$`)
	// platform is what a file's name ends with that is for one system only.
	platform = regexp.MustCompile(`(?:_(?:linux|amd64|arm64))+$`)
)

// lost are the packages without a map, the names in maps without a file, and the files that a map does not name: all but
// itself and what a compiler has written.
func lost(t *testing.T, root fs.FS) (wrong []string) {
	t.Helper()
	packages := map[string][]string{}
	err := fs.WalkDir(root, ".", func(name string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			dir := path.Dir(name)
			packages[dir] = append(packages[dir], platform.ReplaceAllString(strings.TrimSuffix(path.Base(name), ".go"), ""))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		names := packages[dir]
		b, err := fs.ReadFile(root, path.Join(dir, "doc.go"))
		_, sketch, mapped := strings.Cut(string(b), "// # Map\n")
		if !mapped && len(names) > mostFiles {
			wrong = append(wrong, fmt.Sprintf("%s has %d files and no map of them in doc.go: %v", dir, len(names), err))
		}
		shown := map[string]bool{"doc": true}
		for _, m := range mapLine.FindAllStringSubmatch(sketch, -1) {
			for _, name := range strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' }) {
				stale := true
				for _, file := range names {
					if ok, err := path.Match(name, file); ok && err == nil {
						shown[file], stale = true, false
					}
				}
				if stale {
					wrong = append(wrong, fmt.Sprintf("%s/doc.go names %s, which is no file of it", dir, name))
				}
			}
		}
		for _, file := range names {
			if mapped && !shown[file] && !strings.HasSuffix(file, "_bpfel") {
				wrong = append(wrong, fmt.Sprintf("%s/doc.go does not name %s, which is a file of it", dir, file))
			}
		}
	}
	return wrong
}
