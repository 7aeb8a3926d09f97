package engine

import (
	"archive/tar"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serverImage puts the test's server into e as an image.
func serverImage(t *testing.T, e *Engine) {
	t.Helper()
	if err := os.MkdirAll(command(""), 0o700); err != nil {
		t.Fatal(err)
	}
	binary := command("test-server") // where the next one finds it built
	build := exec.Command("go", "build", "-o", binary, "./testdata/server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "server", Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	load := e.Command(t.Context(), "import", "--change", `ENTRYPOINT ["/server"]`, "-", "test/server")
	load.Stdin = &archive
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
}

// must runs docker.
func must(t *testing.T, e *Engine, args ...string) string {
	t.Helper()
	out, err := e.Output(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sysctlOfTest is one that no namespace keeps apart and that does no harm when it is one higher.
const sysctlOfTest = "kernel.keys.root_maxkeys"

// use does with the engine what a run does: a network, a privileged container that changes a sysctl and publishes a port,
// a volume. It returns what the server says when it is asked from the machine.
func use(t *testing.T, e *Engine) string {
	t.Helper()
	serverImage(t, e)
	was, err := os.ReadFile(sysctlPath(sysctlOfTest))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(was)))
	if err != nil {
		t.Fatal(err)
	}
	must(t, e, "network", "create", "test")
	port := freePort(t)
	must(t, e, "run", "--detach", "--name", "server", "--privileged", "--network", "test", "--volume", "/data", "--publish", "127.0.0.1:"+port+":80",
		"--env", "SET="+sysctlPath(sysctlOfTest), "--env", "TO="+strconv.Itoa(n+1), "test/server")
	direct := &http.Client{Transport: &http.Transport{}} // no proxy
	for deadline := time.Now().Add(testTimeout / 4); ; time.Sleep(poll) {
		response, err := direct.Get("http://127.0.0.1:" + port)
		if err == nil {
			text, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the published port does not answer: %v\n%s", err, must(t, e, "logs", "server"))
		}
	}
}

// freePort is a TCP port of loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	for port := 20000 + os.Getpid()%10000; ; port++ {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		_ = unix.Close(fd)
		if err == nil {
			return strconv.Itoa(port)
		}
	}
}
