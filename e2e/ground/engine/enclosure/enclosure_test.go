package enclosure

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProxyRefusesWhatItCannotCarry(t *testing.T) {
	for want, args := range map[string][]string{
		"only tcp":                       {"-proto", "udp", "-host-ip", "127.0.0.1", "-host-port", "1", "-container-ip", "192.0.2.1", "-container-port", "1"},
		"flag provided but not":          {"-no-such-flag"},
		"the machine's network: no such": {"-proto", "tcp", "-host-ip", "127.0.0.1", "-host-port", "0", "-use-listen-fd"}, // outside an enclosure
	} {
		if _, err := listen(args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestInitRunsAsTheFirstProcessOnly(t *testing.T) {
	if _, err := Init(t.TempDir(), t.TempDir(), []string{"true"}); err == nil {
		t.Fatal("it shut this test in")
	}
}

// pair is two ends of a TCP connection.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = dialed.Close(), accepted.Close() })
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// A client that has said all keeps listening for the answer: one end's end is not both's.
func TestHalfClosedConnectionIsCarriedOn(t *testing.T) {
	client, near := pair(t)
	far, server := pair(t)
	done := make(chan struct{})
	go func() { defer close(done); copyBoth(near, far) }()
	deadline := time.Now().Add(30 * time.Second)
	for _, c := range []*net.TCPConn{client, server} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 64)
	if n, err := server.Read(buffer); err != nil || string(buffer[:n]) != "question" {
		t.Fatalf("%q, %v", buffer[:n], err)
	}
	if _, err := server.Read(buffer); err == nil {
		t.Fatal("the client's end did not arrive")
	}
	if _, err := server.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	if n, err := client.Read(buffer); err != nil || string(buffer[:n]) != "answer" {
		t.Errorf("%q, %v", buffer[:n], err)
	}
	<-done
}

// enclosed runs a shell command in an enclosure and returns its output, or ends it before it has begun.
func enclosed(t *testing.T, on bool, script string) (run, state, output string, err error) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("namespaces need root")
		}
		t.Skip("namespaces need root")
	}
	binary := filepath.Join(t.TempDir(), "enclosure")
	build := exec.Command("go", "build", "-o", binary, "../../../cmd/enclosure")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run, state = t.TempDir(), t.TempDir()
	cmd, release, err := Command(binary, run, state, "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := release(on); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	return run, state, out.String(), err
}

func TestNothingHappensBeforeItIsOnRecord(t *testing.T) {
	_, state, output, err := enclosed(t, false, "touch ran")
	if err == nil || !strings.Contains(output, "gone") {
		t.Errorf("%v, %q, want an end before anything", err, output)
	}
	if _, err := os.Stat(filepath.Join(state, "ran")); err == nil {
		t.Error("the command ran")
	}
}

func TestTheMachinesFilesStay(t *testing.T) {
	const name = "x0tta6bl4-enclosure-test"
	script := `
for dir in /etc /run /opt /lib /tmp /usr/local /var/lib /etc/docker /root; do
	echo x >$dir/` + name + ` 2>/dev/null && echo wrote $dir
done
test -e /etc/passwd && echo sees /etc
ls /run/containerd /etc/docker | grep -v ` + name + `
grep CapBnd /proc/self/status
mount -t tmpfs tmpfs /mnt && echo mounted
`
	run, state, output, err := enclosed(t, true, script)
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, want := range []string{"wrote /etc\n", "wrote /run\n", "wrote /lib\n", "wrote /tmp\n", "wrote /etc/docker\n", "sees /etc\n", "mounted\n"} {
		if !strings.Contains(output, want) {
			t.Errorf("no %q in\n%s", want, output)
		}
	}
	for _, no := range []string{"wrote /usr/local", "wrote /var/lib", "wrote /root"} {
		if strings.Contains(output, no) {
			t.Errorf("%q in\n%s", no, output)
		}
	}
	for _, dir := range []string{"/etc", "/run", "/opt", "/lib", "/tmp", "/usr/local", "/var/lib", "/etc/docker", "/root"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("the machine has %s/%s", dir, name)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{run, state, "/mnt "} {
		if strings.Contains(string(mounts), dir) {
			t.Errorf("a mount at %s left the enclosure", dir)
		}
	}
}

// What a killed engine leaves running ends with its first process, however that ends.
func TestEverythingEndsWithTheFirstProcess(t *testing.T) {
	_, _, output, err := enclosed(t, true, `setsid sleep 3456 & readlink /proc/self/ns/pid; exit 7`)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("%v, want the command's own exit code 7", err)
	}
	namespace := strings.TrimSpace(output)
	if !strings.HasPrefix(namespace, "pid:") {
		t.Fatalf("namespace %q", output)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if n, err := os.Readlink(p); err == nil && n == namespace {
			t.Errorf("%s is still in the enclosure", p)
		}
	}
}
