package e2e

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	fence    = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	inline   = regexp.MustCompile("`((?:make|go test|go generate|go run) [^`]+)`")
	link     = regexp.MustCompile(`\]\(([^)]+)\)`)
	comment  = regexp.MustCompile(`\s+#\s.*$`)
	variable = regexp.MustCompile(`^([A-Z0-9_]+)=(.*)$`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	recipe   = regexp.MustCompile(`(?m)^(?:\t| +(?:- )?run: )(.*)$`)
	unslug   = regexp.MustCompile(`[^\p{L}\p{N} -]`)
)

// fenced are the lines of a document's blocks of shell.
func fenced(text string) (lines []string) {
	for _, block := range fence.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// commands are these and what is quoted in sentences.
func commands(text string) []string {
	lines := fenced(text)
	for _, m := range inline.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		lines = append(lines, m[1])
	}
	return lines
}

func links(text string) (all []string) {
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func cells(text string) (all []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "|") {
			for _, c := range strings.Split(strings.Trim(line, "|"), "|") {
				all = append(all, strings.TrimSpace(c))
			}
		}
	}
	return all
}

// book is what commands and links are looked up in.
type book struct {
	files          fs.FS
	makefile, help string
	ci             string // what CI runs, and make for it
	labels         map[string]bool
}

// exists tells what a command names that is not there.
func (b book) exists(line string) error {
	words := strings.Fields(comment.ReplaceAllString(line, ""))
	for len(words) > 1 && variable.MatchString(words[0]) {
		words = words[1:]
	}
	switch {
	case words[0] == "make":
		return b.existsMake(words[1:])
	case words[0] == "go":
		return b.existsGo(words[1:])
	case words[0] == "kubectl":
		return b.existFiles(words)
	case strings.Contains(words[0], "/"):
		return b.file(words[0])
	}
	return fmt.Errorf("unknown command %s", words[0])
}

func (b book) existsMake(words []string) error {
	named := false
	for _, w := range words {
		if m := variable.FindStringSubmatch(w); m != nil {
			if !strings.Contains(b.makefile, "$("+m[1]+")") {
				return fmt.Errorf("the Makefile has no variable %s", m[1])
			}
			if flags := strings.Fields(m[2]); m[1] == "ARGS" {
				return suiteFlags(flags)
			}
			continue
		}
		named = true
		if label, ok := strings.CutPrefix(w, "e2e-"); !b.target(w) && !(ok && (b.labels[label] || label == "SCENARIO")) {
			return fmt.Errorf("the Makefile has no target %s, or make help does not list it", w)
		}
	}
	if !named {
		return errors.New("no target is named")
	}
	return nil
}

func (b book) target(name string) bool {
	listed := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(name) + ` `)
	return strings.Contains("\n"+b.makefile, "\n"+name+":") && listed.MatchString(b.help)
}

// goFlags are those of go test that documents use, and whether a value follows.
var goFlags = map[string]bool{
	"race": false, "short": false, "v": false, "update": false,
	"run": true, "timeout": true, "fuzz": true, "fuzztime": true, "count": true, "bench": true, "tags": true,
}

func (b book) existsGo(words []string) error {
	if len(words) == 0 || !slices.Contains([]string{"test", "run", "generate", "vet", "build"}, words[0]) {
		return fmt.Errorf("go has no %s that documents use", strings.Join(words, " "))
	}
	named := false
	for i, w := range words[1:] {
		name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
		_, own := goFlags[name]
		switch {
		case strings.HasPrefix(w, "./"):
			dir := strings.TrimSuffix(strings.TrimPrefix(w, "./"), "/...")
			if info, err := fs.Stat(b.files, dir); err != nil || !info.IsDir() {
				return fmt.Errorf("there is no package %s", w)
			}
			named = true
			if w == "./e2e" && words[0] == "test" {
				return suiteFlags(words[i+2:])
			}
		case strings.Contains(w, ".") && words[0] == "run": // another module's, at its version in go.mod
			named = true
		case !named && strings.HasPrefix(w, "-") && !own:
			return fmt.Errorf("go %s has no flag %s that documents use", words[0], w)
		}
	}
	if !named {
		return errors.New("no package is named")
	}
	return nil
}

// suiteFlags sees that the suite has the flags, or Ginkgo, or go test.
func suiteFlags(words []string) error {
	for _, w := range words {
		if w == "-args" || !strings.HasPrefix(w, "-") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
		if _, own := goFlags[name]; !own && flag.Lookup(name) == nil {
			return fmt.Errorf("the suite has no flag -%s", name)
		}
	}
	return nil
}

func (b book) existFiles(words []string) error {
	for i, w := range words[:len(words)-1] {
		if w == "-f" || w == "-k" || w == "--patch-file" {
			if err := b.file(words[i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b book) file(name string) error {
	if _, err := fs.Stat(b.files, name); err != nil {
		return fmt.Errorf("there is no file %s", name)
	}
	return nil
}

// runLines are the commands of a script, and of a Makefile's recipes or a workflow's steps.
func runLines(script, recipes string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	for _, m := range recipe.FindAllStringSubmatch(recipes, -1) {
		b.WriteString(strings.ReplaceAll(m[1], "$(GO)", "go") + "\n")
	}
	return b.String()
}

// run tells that neither CI nor a test runs a command.
func (b book) run(line string) error {
	words := strings.Fields(comment.ReplaceAllString(line, ""))
	if words[0] != "make" {
		command := strings.Join(words, " ")
		if general := strings.Replace(command, "./e2e", "./...", 1); !strings.Contains(b.ci, command+"\n") && !strings.Contains(b.ci, general+"\n") {
			return errors.New("neither CI nor make runs it")
		}
		return nil
	}
	for _, w := range words[1:] {
		label, scenario := strings.CutPrefix(w, "e2e-")
		runs := regexp.MustCompile(`(?m)\bmake (-\S+ )*([a-z-]+ )*` + regexp.QuoteMeta(w) + `( |$)`)
		switch {
		case variable.MatchString(w), runs.MatchString(b.ci):
		case scenario && b.labels[label] && strings.Contains(b.ci, `make "e2e-${SCENARIO}"`):
		default:
			return fmt.Errorf("CI does not run make %s", w)
		}
	}
	return nil
}

// leads tells that a link of a document leads nowhere.
func (b book) leads(from, to string) error {
	if strings.Contains(to, "://") {
		return nil // outside; tests do not go there
	}
	name, anchor, _ := strings.Cut(to, "#")
	path := filepath.Join(filepath.Dir(from), name)
	if name == "" {
		path = from
	}
	text, err := fs.ReadFile(b.files, path)
	if info, e := fs.Stat(b.files, path); e == nil && info.IsDir() && anchor == "" {
		return nil
	}
	if err != nil || anchor == "" {
		return err
	}
	slugs := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(string(text), -1) {
		slugs[strings.ReplaceAll(unslug.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	if !slugs[anchor] {
		return fmt.Errorf("no heading %s among %s", anchor, strings.Join(slices.Sorted(maps.Keys(slugs)), ", "))
	}
	return nil
}
