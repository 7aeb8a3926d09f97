package pin

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// wrong is everything that is wrong with a project's pins.
func wrong(pins []Pin, table []Behind, floating map[string]string) []string {
	return slices.Concat(Disagreements(pins), Floats(pins, floating), Stale(pins, table))
}

// TestPins lists what is pinned, and why, where it is not the newest (go test -v shows it), and sees that every pin is
// one version everywhere, that it stays what it is, and that no reason is stale.
func TestPins(t *testing.T) {
	pins, err := All(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong(pins, NotNewest, Floating) {
		t.Error(w)
	}
	places := map[[2]string][]string{} // by name and version
	for _, p := range pins {
		thing := [2]string{p.Name, p.Version}
		places[thing] = append(places[thing], p.At)
	}
	why := map[string]Behind{}
	for _, b := range NotNewest {
		why[b.Name] = b
	}
	listed := map[[2]string]bool{}
	for _, p := range pins {
		thing := [2]string{p.Name, p.Version}
		if listed[thing] {
			continue
		}
		listed[thing] = true
		held := ""
		if b, ok := why[p.Name]; ok {
			held = "; not " + b.Newest + " (" + b.On + "): " + b.Why
		}
		t.Logf("%s %s in %s%s", p.Name, p.Version, strings.Join(slices.Compact(places[thing]), ", "), held)
	}
	// If one of these is not found, the others may not be either.
	for _, name := range []string{
		goToolchain, kubernetes, libraries, etcd, "CoreDNS", prometheus, chaosMesh, metricsServer, "pause", "LLVM", "ubuntu", "debian",
		"actions/checkout", "sigs.k8s.io/kind", "sigs.k8s.io/controller-tools", "github.com/cilium/ebpf",
		"github.com/golangci/golangci-lint/v2", "github.com/containerd/containerd/v2", "github.com/rhysd/actionlint",
	} {
		if !slices.ContainsFunc(pins, func(p Pin) bool { return p.Name == name }) {
			t.Errorf("no pin of %s was found", name)
		}
	}
}

// project is one in which nothing is wrong.
func project() map[string]string {
	sha := strings.Repeat("a1", 20)
	return map[string]string{
		"go.mod": "module m\n\ngo 1.26.7\n\nrequire (\n\tk8s.io/api v0.35.3\n\tk8s.io/client-go v0.35.3\n\tgithub.com/prometheus/prometheus v0.310.0\n\tk8s.io/x v0.1.0 // indirect\n)\n",
		"manifests/images/go.mod": "module m/images\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/kubernetes v1.34.3\n\tk8s.io/api v0.35.3\n\tgo.etcd.io/etcd/server/v3 v3.6.5\n)\n" +
			"\nrequire (\n\texample.com/tool v1.2.3 // indirect\n\texample.com/tool/v2 v2.0.1 // indirect\n\texample.com/idle v1.0.0 // indirect\n)\n" +
			"\nreplace k8s.io/api => k8s.io/api v0.34.3\n\ntool example.com/tool/v2/cmd/tool\n",
		"e2e/ground/image/recipe.go": "package image\n\nconst (\n\tVersion = \"v1.34.3\"\n\ttag = \"3.6.5-0\"\n\tPause = \"registry.k8s.io/pause:3.10.1\"\n\tNode = \"x0tta6bl4/kind-node:\" + Version\n)\n",
		"e2e/ground/image/node.go": "package image\n\nvar all = []string{\"registry.k8s.io/etcd:\" + tag, \"registry.k8s.io/pause:3.10\", \"x0tta6bl4/meshnode:dev\", \"x0tta6bl4/kind-node:bare\"}\n" +
			"\nfunc f(name string) string { return \"registry.k8s.io/\" + name + \":\" + Version + \"-DVERSION=3.10.1\" }\n",
		"e2e/ground/image/some_test.go": "package image\n\nvar other = \"kindest/node:v9.9.9\"\n",
		".github/workflows/w.yaml": "jobs:\n  a:\n    runs-on: ubuntu-24.04\n    container: debian:12\n    release: debian:13\n    other:\n      release: debian:sid\n    kubernetes: [v1.34.3, v1.35.0]\n" +
			"    steps:\n      - uses: actions/checkout@" + sha + " # v4.2.2\n      - run: apt-get install clang-format-14\n",
		"manifests/p/server.yaml": "spec:\n  image: docker.io/prom/prometheus:v3.10.0\n  other: {pauseImage: registry.k8s.io/pause:3.10.1}\n  value: app.kubernetes.io/component:x\n",
		"CHANGELOG.md":            "Kubernetes 1.20.0\n",
		"README.md":               "kind node, Kubernetes 1.34.3; since Kubernetes 1.20; clang 14\n",
		"findings/old.sh":         "go run example.com/x@latest\n",
	}
}

// TestPinsAreJudged: each mistake is found, and is what is found.
func TestPinsAreJudged(t *testing.T) {
	floating := map[string]string{"debian:sid": "why"}
	table := []Behind{{"example.com/tool/v2", "2.0.1", "2.1.0", "2026-01-02", "because"}}
	for what, c := range map[string]struct {
		file, from, to string
		want           string
	}{
		"nothing":                          {},
		"an image of another version":      {"manifests/p/server.yaml", "v3.10.0", "v3.9.0", "Prometheus is 3.10.0 in go.mod and 3.9.0 in manifests/p/server.yaml"},
		"a module of another version":      {"go.mod", "v0.310.0", "v0.316.0", "Prometheus is 3.10.0 in manifests/p/server.yaml and 3.16.0 in go.mod"},
		"a replacement of another version": {"manifests/images/go.mod", "=> k8s.io/api v0.34.3", "=> k8s.io/api v0.34.1", "Kubernetes is 1.34.1 in manifests/images/go.mod"},
		"a constant of another version":    {"e2e/ground/image/recipe.go", `"v1.34.3"`, `"v1.34.4"`, "1.34.4 in e2e/ground/image/recipe.go"},
		"one library of two":               {"go.mod", "client-go v0.35.3", "client-go v0.35.4", "Kubernetes' libraries is 0.35.3 in go.mod and 0.35.4 in go.mod"},
		"a longer number, not more detail": {"e2e/ground/image/node.go", "pause:3.10\"", "pause:3.1\"", "pause is 3.1 in e2e/ground/image/node.go and 3.10.1"},
		"a matrix without it":              {".github/workflows/w.yaml", "[v1.34.3, ", "[v1.36.0, ", "Kubernetes is 1.34.3 in"},
		"a document that is old":           {"README.md", "1.34.3", "1.33.1", "Kubernetes is 1.33.1 in README.md"},
		"another compiler":                 {"README.md", "clang 14", "clang 15", "LLVM is 14 in .github/workflows/w.yaml and 15 in README.md"},
		"a module that wants a later Go":   {"manifests/images/go.mod", "go 1.26.0", "go 1.26.8", "Go is 1.26.7 in go.mod and 1.26.8 in manifests/images/go.mod"},
		"an action by its tag":             {".github/workflows/w.yaml", "@" + strings.Repeat("a1", 20), "@v4", "actions/checkout in .github/workflows/w.yaml floats: v4 is no digest"},
		"an action by half a commit":       {".github/workflows/w.yaml", "@" + strings.Repeat("a1", 20), "@a1a1a1a", "floats: a1a1a1a is no digest"},
		"an action without its version":    {".github/workflows/w.yaml", " # v4.2.2", "", "actions/checkout in .github/workflows/w.yaml has no version"},
		"one version, two commits": {".github/workflows/w.yaml", "      - run:", "      - uses: actions/checkout@" + strings.Repeat("b2", 20) + " # v4.2.2\n      - run:",
			"actions/checkout 4.2.2 is a1a1"},
		"a runner that floats":         {".github/workflows/w.yaml", "ubuntu-24.04", "ubuntu-latest", `ubuntu in .github/workflows/w.yaml floats: its version is "latest"`},
		"a container that floats":      {".github/workflows/w.yaml", "debian:12", "debian:stable", `debian in .github/workflows/w.yaml floats`},
		"an image without a tag":       {"manifests/p/server.yaml", "docker.io/prom/prometheus:v3.10.0", "example/one", `example/one in manifests/p/server.yaml floats: its version is ""`},
		"an image that floats":         {"manifests/p/server.yaml", "docker.io/prom/prometheus:v3.10.0", "example/one:main", `floats: its version is "main"`},
		"a tool that floats":           {".github/workflows/w.yaml", "apt-get install", "go install example.com/x/cmd/y@latest;", `example.com/x/cmd/y in .github/workflows/w.yaml floats`},
		"what may float, and does not": {".github/workflows/w.yaml", "debian:sid", "debian:14", "debian:sid may float, and does not"},
		"a reason that is stale":       {"manifests/images/go.mod", "v2.0.1", "v2.0.2", "example.com/tool/v2 is pinned at 2.0.2"},
	} {
		content := project()
		if c.file != "" && !strings.Contains(content[c.file], c.from) {
			t.Fatalf("%s: %s has no %q", what, c.file, c.from)
		}
		content[c.file] = strings.Replace(content[c.file], c.from, c.to, 1)
		files := fstest.MapFS{}
		for name, text := range content {
			if name != "" {
				files[name] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		pins, err := All(files)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := wrong(pins, table, floating)
		found := slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, c.want) })
		if c.want == "" && len(got) > 0 || !found && c.want != "" {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

// TestWhatIsPinned: what is required directly, or for a tool, is pinned; what the go command chose is not.
func TestWhatIsPinned(t *testing.T) {
	pins, _, err := inModule("go.mod", []byte(project()["manifests/images/go.mod"]))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pins {
		got = append(got, p.Name+" "+p.Version)
	}
	if want := []string{"Kubernetes 1.34.3", "Kubernetes 1.34.3", "etcd 3.6.5", "example.com/tool/v2 2.0.1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestStaleReasons(t *testing.T) {
	pins := []Pin{{Name: "a", Version: "1.2.3"}}
	good := Behind{"a", "1.2.3", "1.10.0", "2026-01-02", "because"}
	for want, change := range map[string]func(b *Behind){
		"":                           func(*Behind) {},
		"b is not pinned any more":   func(b *Behind) { b.Name = "b" },
		"a is pinned at 1.2.3":       func(b *Behind) { b.Version = "1.2.2" },
		"1.2.3 is not newer":         func(b *Behind) { b.Newest = "1.2.3" },
		"latest is not newer":        func(b *Behind) { b.Newest = "latest" },
		`"2026-13-02" is no day`:     func(b *Behind) { b.On = "2026-13-02" },
		"nothing says why it is not": func(b *Behind) { b.Why = "" },
	} {
		entry := good
		change(&entry)
		got := Stale(pins, []Behind{entry})
		if len(got) > 1 || (len(got) == 0) != (want == "") || len(got) == 1 && !strings.Contains(got[0], want) {
			t.Errorf("%+v: %q, want %q", entry, got, want)
		}
	}
	if got := Stale(pins, []Behind{good, good}); len(got) != 1 || !strings.Contains(got[0], "twice") {
		t.Errorf("the same twice: %q", got)
	}
}
