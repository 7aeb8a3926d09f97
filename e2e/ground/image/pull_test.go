package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/progress"
)

const testTimeout = 5 * time.Minute

// skip skips with a reason, but not in CI, where nothing may be missing.
func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// testEngine returns an engine that answers, starting our own if none does.
func testEngine(t *testing.T) *engine.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	e, err := engine.Find(ctx)
	if errors.Is(err, engine.ErrNone) {
		if _, missing := exec.LookPath("dockerd"); os.Geteuid() != 0 || missing != nil {
			skip(t, "no Docker engine answers, and starting one needs root and dockerd: make deps")
		}
		e, err = engine.Ensure(ctx, "../../..")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := e.Release(ctx); err != nil {
			t.Errorf("release the engine: %v", err)
		}
	})
	return e
}

// testRegistry runs a registry on loopback and returns its address.
func testRegistry(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "registry")
	build := exec.Command("go", "build", "-o", binary, "github.com/distribution/distribution/v3/cmd/registry")
	build.Dir = "testdata/registry"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the registry: %v\n%s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", t.TempDir(), address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := exec.CommandContext(t.Context(), binary, "serve", config)
	serve.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.Process.Kill()
		_ = serve.Wait()
	})
	deadline := time.Now().Add(30 * time.Second)
	for {
		response, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			_ = response.Body.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("the registry does not answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// push puts a random image into the registry and returns its digest, and its id: the digest of its configuration.
func push(t *testing.T, ref string) (digest, id string) {
	t.Helper()
	img, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(ref, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
	pushed, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return pushed.String(), config.String()
}

// pullStore is a store over the given engine and registry, with Chaos Mesh already built.
func pullStore(t *testing.T, e *engine.Engine, r registry) *Store {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := progress.New(null)
	t.Cleanup(func() { p.Close(); _ = null.Close() })
	s := &Store{project: "../../..", dir: t.TempDir(), engine: e, progress: p, log: io.Discard, registry: r}
	archives, err := s.chaosArchives()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range archives {
		if err := os.WriteFile(a, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestPullFromARegistry(t *testing.T) {
	e := testEngine(t)
	address := testRegistry(t)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()

	node, load := address+"/node", address+"/prometheus"
	nodeDigest, nodeID := push(t, node+":v1")
	push(t, load+":v2")
	push(t, address+"/probe:v3")
	r := registry{
		probe: address + "/probe:v3",
		node:  source{name: node + ":used", pull: node + ":v1@" + nodeDigest},
		load:  []source{{name: load + ":v2", pull: load + ":v2"}},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		for _, ref := range []string{r.probe, r.node.name, r.node.pull, r.load[0].name} {
			_, _ = e.Output(ctx, "rmi", "--force", ref) // some are there under one name only
		}
	})
	s := pullStore(t, e, r)
	if _, ok := s.pulledBefore(ctx); ok {
		t.Error("a set is found before anything was pulled")
	}
	if !r.answers(ctx, s) {
		t.Fatal("the registry is said not to answer")
	}
	set, err := s.pullSet(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	for _, i := range set.Images {
		sources[i.Name] = i.Source
	}
	want := map[string]string{r.node.name: Pulled, r.load[0].name: Pulled, ChaosMesh: Built, ChaosDaemon: Built}
	for image, source := range want {
		if sources[image] != source {
			t.Errorf("%s is %q, want %q", image, sources[image], source)
		}
	}
	if set.Node != r.node.name || set.Built {
		t.Errorf("node %q built %v, want the pulled one", set.Node, set.Built)
	}
	if !slices.ContainsFunc(set.Load, func(a string) bool { return strings.Contains(a, "prometheus") }) {
		t.Errorf("archives to load %q lack the pulled image", set.Load)
	}
	id, err := e.Output(ctx, "image", "inspect", "--format", "{{.Id}}", r.node.name)
	if err != nil || id != nodeID {
		t.Errorf("the node image is %s (%v), want %s", id, err, nodeID)
	}
	again, ok := s.pulledBefore(ctx)
	if !ok || again.Images[len(again.Images)-1].Source != Present {
		t.Errorf("the second time: %+v, %v; want everything present", again.Images, ok)
	}
}

func TestPullRefusesAnotherDigest(t *testing.T) {
	e := testEngine(t)
	address := testRegistry(t)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	ref := address + "/node"
	push(t, ref+":v1")
	s := pullStore(t, e, registry{})
	err := s.pull(ctx, source{name: ref + ":used", pull: ref + ":v1@sha256:" + strings.Repeat("0", 64)})
	if err == nil {
		t.Error("an image of another digest was taken")
	}
}

func TestNoRegistryAnswers(t *testing.T) {
	e := testEngine(t)
	s := pullStore(t, e, registry{})
	// Port 1 of loopback refuses at once.
	if (registry{probe: "127.0.0.1:1/probe:v1"}).answers(t.Context(), s) {
		t.Error("a registry answers where there is none")
	}
}
