package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
)

// Limits of what people read.
const (
	mostWords = 1200 // of the README
	mostCell  = 140  // characters of a table's cell
)

// documents are what is written for people.
var documents = []string{
	"README.md", "CONTRIBUTING.md", "SECURITY.md", "e2e/README.md", "meshnode/README.md", "bpf/README.md",
}

// short are those whose tables are to be read at a glance.
var short = []string{"README.md", "CONTRIBUTING.md", "e2e/README.md", "meshnode/README.md", "bpf/README.md"}

// TestDocuments sees that what the documents tell people to type exists, that all of the
// README is run by CI or by a test, and that they are short and their links lead somewhere.
func TestDocuments(t *testing.T) {
	if !testing.Short() {
		t.Skip("a run of the suite judges the mesh: -short runs this")
	}
	root, err := cluster.Project()
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	for _, name := range append(slices.Clone(documents), "Makefile", ".ci/run") {
		text[name] = read(t, filepath.Join(root, name))
	}
	help, err := exec.CommandContext(t.Context(), "make", "--silent", "--no-print-directory", "-C", root, "help").Output()
	if err != nil {
		t.Fatalf("make help: %v", err)
	}
	workflows, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.y*ml"))
	if err != nil || len(workflows) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	script := "make help\n" + text[".ci/run"] // the first as above
	for _, w := range workflows {
		script += steps(read(t, w))
	}
	b := book{os.DirFS(root), text["Makefile"], string(help), called(script, text["Makefile"]), labels()}
	for _, name := range documents {
		for _, line := range commands(text[name]) {
			if err := b.exists(line); err != nil {
				t.Errorf("%s: %q: %v", name, line, err)
			}
		}
		for _, to := range links(text[name]) {
			if err := b.leads(name, to); err != nil {
				t.Errorf("%s: link %q: %v", name, to, err)
			}
		}
	}
	for _, line := range fenced(text["README.md"]) {
		if err := b.run(line); err != nil {
			t.Errorf("README.md: %q: %v", line, err)
		}
	}
	for _, name := range short {
		for _, c := range cells(text[name]) {
			if n := len([]rune(c)); n > mostCell {
				t.Errorf("%s: a cell has %d characters, at most %d: %q", name, n, mostCell, c)
			}
		}
	}
	if n := len(strings.Fields(text["README.md"])); n > mostWords {
		t.Errorf("the README has %d words, at most %d", n, mostWords)
	}
}

// TestDocumentsAreJudged sees each fault of a document found.
func TestDocumentsAreJudged(t *testing.T) {
	// CI calls all and e2e-%, these call part and next, and nobody calls idle, of which much is said.
	const makefile = "all: part ## x\n\t@echo $(PROFILE) 'all; make idle'; printf \"make idle; \\\"make idle\"\n\t@# make idle\n\t$(MAKE) next # make idle\n" +
		"part: ## x\n\t$(GO) test -short ./e2e\nnext: ## x\n\t@$(GO) generate ./...\nidle: ## x\n\t$(GO) vet ./e2e\ne2e-%: all\n\t$(GO) build ./e2e\n"
	const workflow = "steps:\n  - run: make all\n  # - run: make idle\n  - name: make idle\n    run: sudo make \"e2e-${SCENARIO}\"\n"
	b := book{
		fstest.MapFS{"e2e/file.yaml": {}, "e2e/script.sh": {}, "e2e/page.md": {Data: []byte("# Some heading, 2\n")}},
		makefile, "  all  x\n  idle  x\n", called("# make idle\n"+steps(workflow), makefile), map[string]bool{"latency": true},
	}
	for line, want := range map[string]string{
		"make all PROFILE=quick":                         "",
		"make all ARGS=-ginkgo.v":                        "no variable ARGS",
		"make all ARGS=":                                 "no variable ARGS",
		"make e2e-latency":                               "",
		"make e2e-latncy":                                "no target e2e-latncy",
		"make al":                                        "no target al",
		"make":                                           "no target is named",
		"go test -short ./e2e  # why":                    "",
		"go test ./e2e -profile full -ginkgo.v":          "",
		"go test ./e2e -profil full":                     "no flag -profil",
		"go test ./e2e -args -artifacts=x":               "",
		"go test ./e2e -args -artefacts=x":               "no flag -artefacts",
		"go test -fuzztime 1m ./e2e -kubeconfig=x":       "",
		"go test -fuztime 1m ./e2e":                      "no flag -fuztime",
		"go test ./e2f":                                  "no package ./e2f",
		"go test":                                        "no package is named",
		"go frob ./e2e":                                  "go has no frob",
		"kubectl apply -f e2e/file.yaml":                 "",
		"kubectl -n x patch pod y --patch-file e2e/none": "no file e2e/none",
		"e2e/script.sh":                                  "",
		"e2e/none.sh":                                    "no file e2e/none.sh",
		"frobnicate":                                     "unknown command",
	} {
		if err := b.exists(line); err == nil != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q exists: %v, want %q", line, err, want)
		}
	}
	for line, want := range map[string]bool{
		"make all": true, "make idle": false, "make all idle": false, "make e2e-latency": true,
		"go test -short ./e2e": true, "go test ./e2e": false, "go generate ./e2e": true, "e2e/script.sh": false,
		"make next": true, "go build ./e2e": true, "go vet ./e2e": false,
	} {
		if err := b.run(line); err == nil != want {
			t.Errorf("%q is run: %v, want %v", line, err, want)
		}
	}
	for to, want := range map[string]bool{
		"file.yaml": true, "none": false, "page.md#some-heading-2": true, "page.md#none": false, "https://example.invalid": true,
	} {
		if err := b.leads("e2e/page.md", to); err == nil != want {
			t.Errorf("link %q leads: %v, want %v", to, err, want)
		}
	}
	const page = "`make a`, `go` and [x](y#z)\n```sh\nmake b  # c\n\n```\n```\noutput\n```\n| x | yy |\n| --- | --- |\n"
	if got, want := commands(page), []string{"make b  # c", "make a"}; !slices.Equal(got, want) {
		t.Errorf("commands %q, want %q", got, want)
	}
	if got, want := links(page), []string{"y#z"}; !slices.Equal(got, want) {
		t.Errorf("links %q, want %q", got, want)
	}
	if got, want := cells(page), []string{"x", "yy", "---", "---"}; !slices.Equal(got, want) {
		t.Errorf("cells %q, want %q", got, want)
	}
}

// TestReleaseIsRefused sees that nothing is built of which nobody could say what it is.
func TestReleaseIsRefused(t *testing.T) {
	if !testing.Short() {
		t.Skip("a run of the suite judges the mesh: -short runs this")
	}
	root, err := cluster.Project()
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{
		"": "say which version", "1.2.3": "say which version", "v1.2": "say which version", "v0.0.0": "no section [0.0.0]",
	} {
		out, err := exec.CommandContext(t.Context(), "make", "-C", root, "release", "VERSION="+version).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("make release VERSION=%s: %v, want %q in %s", version, err, want, out)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// labels are those of the scenarios.
func labels() map[string]bool {
	all := map[string]bool{}
	for _, sc := range scenarios {
		all[sc.Name] = true
		for _, l := range sc.Labels {
			all[l] = true
		}
	}
	return all
}
