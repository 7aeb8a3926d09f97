package image

import (
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	containers "github.com/google/go-containerregistry/pkg/registry"
)

// serve returns the host and port of a registry on loopback.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// pushed pushes an image for each of the project's, whose content says so.
func pushed(t *testing.T, where, content string) Published {
	t.Helper()
	p := Published{}
	for _, image := range own {
		archive := filepath.Join(t.TempDir(), "image.tar")
		if _, err := compose(archive, "", layer{"/what": {data: []byte(content + image), mode: 0o644}}, staticConfig("/what"), image); err != nil {
			t.Fatal(err)
		}
		if err := p.push(t.Context(), where, image, archive); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// TestPublishedImagesAreFoundByDigest: what is found is what was pushed last, below this very
// place, and stays so when somebody pushes again.
func TestPublishedImagesAreFoundByDigest(t *testing.T) {
	host := serve(t, containers.New(containers.Logger(log.New(io.Discard, "", 0))))
	first := pushed(t, host+"/some/prefix", "first")
	for _, where := range []string{host + "/some/prefix", host + "/some/prefix/", first.String()} {
		found, err := Find(t.Context(), where)
		if err != nil || !maps.Equal(found, first) {
			t.Errorf("%s: %v, %v, want %v", where, found, err, first)
		}
	}
	for image, ref := range first {
		if !strings.HasPrefix(ref, host+"/some/prefix/") || !strings.Contains(ref, "@sha256:") || first.Ref(image) != ref {
			t.Errorf("%s is %s", image, ref)
		}
	}
	second := pushed(t, host+"/some/prefix", "second")
	if found, err := Find(t.Context(), host+"/some/prefix"); err != nil || !maps.Equal(found, second) || maps.Equal(first, second) {
		t.Errorf("after another push: %v, %v, want %v", found, err, second)
	}
	if found, err := Find(t.Context(), first.String()); err != nil || !maps.Equal(found, first) {
		t.Errorf("the first by digest after another push: %v, %v", found, err)
	}
}

func TestWhatIsNotPublished(t *testing.T) {
	host := serve(t, containers.New(containers.Logger(log.New(io.Discard, "", 0))))
	pushed(t, host+"/some/prefix", "")
	denied := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	broken := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<html>\n<body>\nno\n</body>\n</html>\n")
	}))
	digest := "@sha256:" + strings.Repeat("0", 64)
	for where, want := range map[string]string{
		host + "/other":                      "make push REGISTRY=" + host + "/other",
		denied + "/mesh":                     "docker login " + denied,
		broken + "/mesh":                     broken + " answers 502 Bad Gateway",
		"prefix":                             "give a registry's host and a prefix",
		"team/mesh":                          "give a registry's host and a prefix", // it means a public one
		host:                                 "give a registry's host and a prefix",
		"https://" + host + "/mesh":          "give a registry's host and a prefix",
		"user:secret@" + host + "/mesh":      "what was given",
		host + "/UPPER":                      "give a registry's host and a prefix",
		host + "/mesh/meshnode" + digest:     "not each of meshnode",
		host + "/mesh/meshnode@sha256:short": "not each of the references",
	} {
		if found, err := Find(t.Context(), where); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %v, want %q in one line", where, found, err, want)
		}
	}
	if found, err := Find(t.Context(), ""); found != nil || err != nil {
		t.Errorf("nowhere: %v, %v", found, err)
	}
}

func TestFilesNamePublishedImages(t *testing.T) {
	files := fstest.MapFS{
		"mesh.yaml":       {Data: []byte("a: 1\nimage: " + Mesh + "\nb: " + Chaos + "\nlabel: x0tta6bl4\n")},
		"deep/other.yaml": {Data: []byte("image: docker.io/prom/prometheus:v3\n")},
	}
	p := Published{Mesh: "r.example/p/meshnode@sha256:1", Chaos: "r.example/p/meshchaos@sha256:2", Probe: "r.example/p/probe@sha256:3"}
	named := p.FS(files)
	got, err := fs.ReadFile(named, "mesh.yaml")
	if want := "a: 1\nimage: r.example/p/meshnode@sha256:1\nb: r.example/p/meshchaos@sha256:2\nlabel: x0tta6bl4\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if got, err := fs.ReadFile(named, "deep/other.yaml"); err != nil || string(got) != string(files["deep/other.yaml"].Data) {
		t.Errorf("another's image: %q, %v", got, err)
	}
	if all, err := fs.Glob(named, "*/*.yaml"); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	if Published(nil).FS(files) == nil || Published(nil).Ref(Probe) != Probe {
		t.Error("without a registry names are not as they are")
	}
}
