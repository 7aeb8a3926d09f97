package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// content reads a tar stream into a map from path to content or link target.
func content(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	files := map[string]string{}
	for entries := tar.NewReader(r); ; {
		h, err := entries.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(entries)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := files[h.Name]; twice {
			t.Errorf("%s is there twice", h.Name)
		}
		files[h.Name] = string(b) + h.Linkname
	}
}

func testLayer(t *testing.T) layer {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(binary, []byte("code"), 0o600); err != nil {
		t.Fatal(err)
	}
	return layer{
		"/usr/bin/tool": executable(binary),
		"/usr/bin/link": {link: "tool"},
		"/etc/config":   {data: []byte("new"), mode: 0o644},
	}
}

func TestComposeIsReproducible(t *testing.T) {
	l := testLayer(t)
	var digests [2]string
	for i := range digests {
		archive := filepath.Join(t.TempDir(), "image.tar")
		if _, err := compose(archive, "", l, staticConfig("/usr/bin/tool"), "x0tta6bl4/test:dev"); err != nil {
			t.Fatal(err)
		}
		tag, err := name.NewTag("x0tta6bl4/test:dev")
		if err != nil {
			t.Fatal(err)
		}
		img, err := tarball.ImageFromPath(archive, &tag)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Architecture != "amd64" || config.OS != "linux" || config.Config.Entrypoint[0] != "/usr/bin/tool" {
			t.Errorf("config %+v", config)
		}
		hash, err := img.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		digests[i] = hash.String()
		if i == 0 {
			got := content(t, mutate.Extract(img))
			if got["usr/bin/tool"] != "code" || got["usr/bin/link"] != "tool" || got["etc/config"] != "new" {
				t.Errorf("files %v", got)
			}
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("two builds of the same files differ: %v", digests)
	}
}

func TestMergeReplaces(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root.tar")
	var b bytes.Buffer
	base := layer{"/etc/config": {data: []byte("old"), mode: 0o644}, "/etc/kept": {data: []byte("kept"), mode: 0o644}}
	if err := base.tar(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	merged := filepath.Join(t.TempDir(), "merged.tar")
	if err := merge(root, layer{"/etc/config": {data: []byte("new"), mode: 0o644}}, merged); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(merged)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := map[string]string{}
	for entries := tar.NewReader(f); ; {
		h, err := entries.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := io.ReadAll(entries)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(c)
	}
	if files["etc/config"] != "new" || files["etc/kept"] != "kept" {
		t.Errorf("merged %v", files)
	}
}

func TestEveryPreloadHasItsRecipe(t *testing.T) {
	made := map[string]bool{"k8s-pause": true, "pause": true, "nsexec": true, "libnsenter.so": true, "memStress": true} // C programs
	for _, b := range []binaries{kubernetes, metricsServer, chaosManager, chaosDaemon, netemTC, todaStandIn, prometheus} {
		for _, p := range b.packages {
			made[command(b, p)] = true
		}
	}
	for _, p := range preloads("/dir") {
		if p.root != "" {
			rootTar(p.root) // panics on an unknown one
		}
		for path, f := range p.layer {
			if f.from != "" && !made[filepath.Base(f.from)] {
				t.Errorf("%s: nothing builds %s for %s", p.tags[0], f.from, path)
			}
		}
	}
}

// command is the name of the command that a package of b builds.
func command(b binaries, pkg string) string {
	base := filepath.Base(pkg)
	if pkg == "." {
		base = filepath.Base(b.module)
	}
	if base == "v3" { // a major version suffix is not a name
		base = filepath.Base(filepath.Dir(pkg))
	}
	if to, ok := b.rename[base]; ok {
		return to
	}
	return base
}
