package mutant

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each line of the track record names a test, a mutant or a script that is there.
func TestFoundIsShownAgain(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "FOUND.md"))
	if err != nil {
		t.Fatal(err)
	}
	test := regexp.MustCompile("^`go test (?:-short )?-run '(Test\\w+)\\$' (\\./[\\w/]+)`$")
	seeded := regexp.MustCompile("^`make mutants ONLY=(\\w+)`$")
	script := regexp.MustCompile("^`(findings/[\\w.-]+)`$")
	lines := 0
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(cells[1], " ---") || strings.Contains(line, "shown again by |") {
			continue
		}
		lines++
		how := strings.TrimSpace(cells[len(cells)-1])
		switch {
		case len(cells) != 4:
			t.Errorf("%q has %d cells, not 4", line, len(cells))
		case test.MatchString(how):
			m := test.FindStringSubmatch(how)
			if !hasTest(t, m[2], m[1]) {
				t.Errorf("%s: no %s in %s", cells[0], m[1], m[2])
			}
		case seeded.MatchString(how):
			if _, err := Find(seeded.FindStringSubmatch(how)[1]); err != nil {
				t.Errorf("%s: %v", cells[0], err)
			}
		case script.MatchString(how):
			if _, err := os.Stat(filepath.Join(root, script.FindStringSubmatch(how)[1])); err != nil {
				t.Errorf("%s: %v", cells[0], err)
			}
		case how != "the issue":
			t.Errorf("%s: %q shows nothing again", cells[0], how)
		}
	}
	if lines < 20 {
		t.Errorf("%d lines only: are they tables?", lines)
	}
}
