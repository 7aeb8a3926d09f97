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
	step     = regexp.MustCompile(`(?m)^ +(?:- )?run: (.*)$`)
	unslug   = regexp.MustCompile(`[^\p{L}\p{N} -]`)
	// rule is a target of a Makefile, what it needs, and its recipe.
	rule = regexp.MustCompile(`(?m)^([a-z0-9][a-z0-9%-]*):([^=#\n]*)(?:#.*)?\n((?:\t.*\n)*)`)
	// printed is a command that only says its arguments, which may be quoted.
	printed = regexp.MustCompile(`\b(?:echo|printf)\b(?:'[^']*'|"(?:[^"\\]|\\.)*"|[^;&|'"])*`)
	makes   = regexp.MustCompile(`\bmake((?:[ \t]+[^\s;&|<>]+)+)`)
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
	ci             string // what CI runs, and make for it: see called
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

// steps are the commands of a workflow, a line each.
func steps(workflow string) (script string) {
	for _, m := range step.FindAllStringSubmatch(workflow, -1) {
		script += m[1] + "\n"
	}
	return script
}

// called are the commands of a script, and of all recipes of a Makefile that it calls: of the
// targets that it names, of what these need, and of what their recipes make.
func called(script, makefile string) string {
	rules := rule.FindAllStringSubmatch(makefile, -1)
	all := running(script)
	done := map[string]bool{}
	for queue := targets(all); len(queue) > 0; {
		name := queue[0]
		queue = queue[1:]
		i := slices.IndexFunc(rules, func(r []string) bool { return r[1] == name })
		if i < 0 {
			i = slices.IndexFunc(rules, func(r []string) bool {
				before, after, pattern := strings.Cut(r[1], "%")
				return pattern && strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
			})
		}
		if i < 0 || done[name] {
			continue
		}
		done[name] = true
		recipe := running(rules[i][3])
		all += recipe
		queue = append(append(queue, strings.Fields(rules[i][2])...), targets(recipe)...)
	}
	return all
}

// running are the commands of a script or a recipe. A comment is none, and nor is what is only said.
func running(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), "\t @-+")
		if !strings.HasPrefix(line, "#") {
			line = comment.ReplaceAllString(printed.ReplaceAllString(line, ""), "")
			b.WriteString(strings.NewReplacer("$(GO)", "go", "$(MAKE)", "make").Replace(line) + "\n")
		}
	}
	return b.String()
}

// targets are what the calls of make in a script name.
func targets(script string) (names []string) {
	for _, m := range makes.FindAllStringSubmatch(script, -1) {
		for _, w := range strings.Fields(m[1]) {
			if w = strings.Trim(w, `"')`); !strings.HasPrefix(w, "-") && !strings.Contains(w, "=") {
				names = append(names, w)
			}
		}
	}
	return names
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
