package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// killEngine is kill -9 of our engine.
func killEngine(t *testing.T) {
	t.Helper()
	if err := unix.Kill(enclosurePID(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for running() {
		time.Sleep(poll)
	}
}

// layers counts the layers of the engine's images and containers on disk.
func layers(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dataRoot(), "overlay2"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestImagesAloneAreKept(t *testing.T) {
	if !inside(t) {
		return
	}
	administer(t)
	ownDirs(t)
	e := startEngine(t)
	serverImage(t, e)
	clean := layers(t)
	use(t, e)
	image := must(t, e, "image", "inspect", "--format", "{{.Id}}", "test/server")
	must(t, e, "volume", "create", "kept")
	killEngine(t)
	// What a collision of two runs had left: the engine did not start again, and its message was a stack trace.
	store := filepath.Join(dataRoot(), "network", "files", "local-kv.db")
	if err := os.WriteFile(store, []byte("half a page of bolt"), 0o600); err != nil {
		t.Fatal(err)
	}

	e = startEngine(t)
	if e.Note != "" {
		t.Errorf("the state was rebuilt: %s", e.Note)
	}
	if id := must(t, e, "image", "inspect", "--format", "{{.Id}}", "test/server"); id != image {
		t.Errorf("the image is %s, was %s", id, image)
	}
	for what, list := range map[string][]string{
		"containers": {"ps", "--all", "--quiet"}, "volumes": {"volume", "ls", "--quiet"},
		"networks": {"network", "ls", "--quiet", "--filter", "type=custom"},
	} {
		if left := must(t, e, list...); left != "" {
			t.Errorf("%s of the earlier engine: %s", what, left)
		}
	}
	if n := layers(t); n != clean {
		t.Errorf("%d layers on disk, %d before there was a container", n, clean)
	}
	use(t, e)
}

func TestStateThatDoesNotStartIsRebuilt(t *testing.T) {
	if !inside(t) {
		return
	}
	administer(t)
	ownDirs(t)
	e := startEngine(t)
	serverImage(t, e)
	killEngine(t)
	// dockerd makes directories below this one.
	layerdb := filepath.Join(dataRoot(), "image", "overlay2")
	if err := errors.Join(os.RemoveAll(layerdb), os.WriteFile(layerdb, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	e = startEngine(t)
	if !strings.Contains(e.Describe(), "made anew") {
		t.Errorf("no note that the images are gone: %q", e.Describe())
	}
	if images := must(t, e, "images", "--quiet"); images != "" {
		t.Errorf("images %s", images)
	}
	use(t, e)
	for _, name := range []string{".aside", ".gone"} {
		if _, err := os.Stat(dataRoot() + name); err == nil {
			t.Errorf("the broken state stays as %s", name)
		}
	}
}

// brokenEngine puts a dockerd in PATH that ends with a trace, whatever its state is.
func brokenEngine(t *testing.T) {
	t.Helper()
	needsEngine(t)
	ownDirs(t)
	const script = `#!/bin/sh
printf 'panic: no kernel for this\n\ngoroutine 1 [running]:\nmain.main()\n' >&2
exit 2
`
	bin := filepath.Join(stateDir, "bin") // nothing below /tmp is seen in the enclosure
	if err := errors.Join(os.MkdirAll(bin, 0o700), os.WriteFile(filepath.Join(bin, "dockerd"), []byte(script), 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

// An engine that cannot start whatever its state is must not cost the images.
func TestImagesStayWhereTheyAreNotToBlame(t *testing.T) {
	brokenEngine(t)
	image := filepath.Join(dataRoot(), "image", "overlay2", "imagedb")
	if err := os.MkdirAll(image, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := startOwn(t.Context(), "../../..")
	if err == nil || !strings.Contains(err.Error(), "panic: no kernel for this") || strings.Contains(err.Error(), "goroutine") || strings.Contains(err.Error(), "main.main") {
		t.Errorf("error %v, want dockerd's panic without its trace", err)
	}
	if _, err := os.Stat(image); err != nil {
		t.Errorf("the images are gone: %v", err)
	}
	if _, err := os.Stat(recordPath()); err == nil {
		t.Error("the record of the machine stays although nothing runs")
	}
}

// One run was killed while the good state was aside, another one while it removed a bad one.
func TestWhatWasPutAsideComesBack(t *testing.T) {
	brokenEngine(t)
	for _, dir := range []string{"docker.aside/image/good", "docker/image/anew", "docker.gone/image/half"} {
		if err := os.MkdirAll(filepath.Join(stateDir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := startOwn(t.Context(), "../../.."); err == nil {
		t.Fatal("an engine that cannot start has started")
	}
	for path, want := range map[string]bool{"docker/image/good": true, "docker/image/anew": false, "docker.aside": false, "docker.gone": false} {
		if _, err := os.Stat(filepath.Join(stateDir, path)); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
}

func TestEngineStartsAgainAfterKills(t *testing.T) {
	if !inside(t) {
		return
	}
	administer(t)
	ownDirs(t)
	e := startEngine(t)
	serverImage(t, e)
	times := 6
	if os.Getenv("MESH_TEST_LONG") != "" {
		times = 50
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range times {
		// A run that is killed: whatever is under way ends, and the engine with it.
		busy := make(chan struct{})
		go func() {
			defer close(busy)
			_, _ = e.Output(t.Context(), "network", "create", "test")
			_, _ = e.Output(t.Context(), "run", "--detach", "--privileged", "--network", "test", "--volume", "/data", "test/server")
			_, _ = e.Output(t.Context(), "commit", "--change", "LABEL n="+time.Now().String(), "server", "test/committed")
		}()
		after := time.Duration(random.Int64N(int64(1500 * time.Millisecond)))
		time.Sleep(after)
		killEngine(t)
		<-busy
		e = startEngine(t)
		if e.Note != "" {
			t.Fatalf("kill %d, after %s: %s", i, after, e.Note)
		}
		must(t, e, "image", "inspect", "test/server")
	}
	if out := use(t, e); out == "" {
		t.Error("no answer from a container")
	}
}

func TestAnotherUserKeepsTheEngine(t *testing.T) {
	needsEngine(t)
	ownDirs(t)
	first := startEngine(t)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	// Two runs take the engine up; the first to end does not end it for the other.
	one, err := Ensure(ctx, "../../..")
	if err != nil {
		t.Fatal(err)
	}
	two, err := Ensure(ctx, "../../..")
	if err != nil {
		t.Fatal(err)
	}
	if one.Host != first.Host || !one.Own || !two.Own {
		t.Fatalf("engines %+v and %+v, want the one that runs", one, two)
	}
	if err := Reset(ctx); !errors.Is(err, ErrBusy) {
		t.Errorf("Reset beside two users: %v, want ErrBusy", err)
	}
	if err := one.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if !running() {
		t.Fatal("the engine ended with its first user")
	}
	if err := two.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if running() {
		t.Error("the engine outlives its last user")
	}
}
