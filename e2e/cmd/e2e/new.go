package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"go/build"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

var (
	//go:embed new_scenario.go.tmpl
	specSource string
	//go:embed new_fixture.yaml.tmpl
	fixtureSource string

	scenarioName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
)

// newScenario writes the two files of a scenario, which fails until it is judged.
func newScenario(_ context.Context, args []string) (int, error) {
	if len(args) != 1 || !scenarioName.MatchString(args[0]) {
		return exitUsage, fmt.Errorf("name the scenario, in lower-case words with hyphens between them: make e2e-new NAME=slow-disk")
	}
	project, err := projectRoot()
	if err != nil {
		return exitFailed, err
	}
	files, err := scenarioFiles(args[0])
	if err != nil {
		return exitUsage, err
	}
	for _, f := range files {
		if _, err := os.Stat(filepath.Join(project, f.path)); !errors.Is(err, os.ErrNotExist) {
			return exitUsage, fmt.Errorf("%s is there already: take another name", f.path)
		}
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(project, f.path), f.content, 0o644); err != nil {
			return exitFailed, err
		}
		fmt.Println(f.path)
	}
	fmt.Print(next(args[0]))
	return 0, nil
}

// next says what is left to do for a scenario whose files were written.
func next(name string) string {
	return fmt.Sprintf(`write the fault, and the criteria with what each claims, then
  go generate ./e2e    # the tables of the README files
  make e2e-%s
`, name)
}

// file is one to be written, by its path in the project.
type file struct {
	path    string
	content []byte
}

// scenarioFiles are the spec and the fixture of a scenario.
func scenarioFiles(name string) ([]file, error) {
	spec := strings.ReplaceAll(name, "-", "_") + "_test.go"
	if built, err := matches(spec); err != nil {
		return nil, err
	} else if !built {
		return nil, fmt.Errorf("%s would not be built on every system, by the end of its name: take another", spec)
	}
	words := strings.Split(name, "-")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	data := map[string]string{"Name": name, "Constant": strings.Join(words, "") + "Fixture", "Title": strings.ReplaceAll(name, "-", " ")}
	files := []file{{path: filepath.Join("e2e", spec)}, {path: filepath.Join("fixtures", name+".yaml")}}
	for i, source := range []string{specSource, fixtureSource} {
		var b bytes.Buffer
		if err := template.Must(template.New("").Parse(source)).Execute(&b, data); err != nil {
			return nil, err
		}
		files[i].content = b.Bytes()
	}
	return files, nil
}

// matches reports whether a file is built whatever the system: a name that ends in one's,
// such as disk_windows_test.go, is not.
func matches(name string) (bool, error) {
	c := build.Default
	c.GOOS, c.GOARCH = "none", "none"
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, name), []byte("package e2e\n"), 0o600); err != nil {
		return false, err
	}
	return c.MatchFile(dir, name)
}
