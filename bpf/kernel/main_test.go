package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var declared = regexp.MustCompile(`(?m)^func (Test\w+)\(t `)

// TestPackagesHaveTheirTests: each package is there with tests, and each name of a test is one of them. A package that moves
// would not be tested any more, and nobody would notice.
func TestPackagesHaveTheirTests(t *testing.T) {
	for _, p := range testPackages {
		files, err := filepath.Glob(filepath.Join("../..", p.dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllStringSubmatch(string(b), -1) {
				names = append(names, m[1])
			}
		}
		for _, one := range strings.Split(p.run, "|") {
			pattern, found := regexp.MustCompile(one), false
			for _, n := range names {
				found = found || pattern.MatchString(n)
			}
			if !found {
				t.Errorf("%s has no test %q among %q", p.dir, one, names)
			}
		}
	}
}

func TestChosen(t *testing.T) {
	for _, c := range []struct {
		only string
		bpf  bool
		want int // packages; 0: an error
	}{
		{"", true, len(testPackages)},
		{"", false, len(testPackages) - 3},
		{"e2e/ground/fault", true, 2},
		{"e2e/ground/fault", false, 1},
		{"e2e/ground/netem", false, 1},
		{"bpf/verifier", true, 1},
		{"bpf/verifier", false, 0},
		{"e2e/netem", true, 0}, // where it was once
	} {
		got, err := chosen(c.only, c.bpf)
		if len(got) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%q, eBPF %v: %v, %v, want %d", c.only, c.bpf, got, err, c.want)
		}
	}
}

// TestListIsReadAsWritten: what is packed is what process 1 runs, and a list that names nothing is an error.
func TestListIsReadAsWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	want := []testPackage{{dir: "a/b"}, {dir: "a/b/c", run: "TestX$|TestY"}}
	if err := writeList(file, want); err != nil {
		t.Fatal(err)
	}
	got, err := readList(file)
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if err := writeList(file, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := readList(file); err == nil {
		t.Errorf("an empty list: %+v", got)
	}
}
