package iofault

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
	"golang.org/x/sys/unix"
)

// roleVariable makes the test binary a process of a container.
const roleVariable = "IOFAULT_TEST_ROLE"

// todaPath and nsexecPath are the programs of the daemon's image, as they are built for it.
var todaPath, nsexecPath, entrancePath string

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := contained(role); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "iofault-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	todaPath, nsexecPath, entrancePath = filepath.Join(dir, "toda"), filepath.Join(dir, "nsexec"), filepath.Join(dir, "libnsenter.so")
	const recipe = "../../../manifests/images/chaos-daemon/"
	for _, args := range [][]string{
		append(append([]string{"go", "build"}, buildFlags...), "-o", todaPath, "../../cmd/toda"),
		{"gcc", "-static", "-Wall", "-Werror", "-o", nsexecPath, recipe + "nsexec.c"},
		{"gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", entrancePath, recipe + "nsenter.c"},
	} {
		build := exec.Command(args[0], args[1:]...)
		build.Env, build.Stderr = append(os.Environ(), buildEnv), os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, strings.Join(args, " ")+":", err)
			return 1
		}
	}
	return m.Run()
}

// unable ends a test that needs more than it has: skipped for a person, failed
// in CI, where nothing may go unnoticed.
func unable(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// container is a process in mount and process namespaces of its own, with a volume.
type container struct {
	init   *exec.Cmd
	volume string // its path, inside and outside
	in     io.WriteCloser
	out    *bufio.Reader
	ended  chan struct{}
}

// start starts a container of which the first process plays a role.
func start(t testing.TB, role string, env ...string) *container {
	t.Helper()
	if os.Geteuid() != 0 {
		unable(t, "needs root for namespaces and FUSE")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		unable(t, "needs FUSE: "+err.Error())
	}
	c := &container{volume: t.TempDir(), ended: make(chan struct{})}
	c.init = exec.Command("/proc/self/exe")
	c.init.Env = append(append(os.Environ(), roleVariable+"="+role, "VOLUME="+c.volume), env...)
	c.init.Stderr = os.Stderr
	c.init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	var err error
	if c.in, err = c.init.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.init.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.init.Start(); err != nil {
		unable(t, "needs namespaces: "+err.Error())
	}
	go func() {
		// Wait closes the pipe, of which somebody may read: only the end counts.
		_, _ = c.init.Process.Wait()
		close(c.ended)
	}()
	t.Cleanup(func() {
		_ = c.init.Process.Kill() // it may have ended
		<-c.ended
	})
	if line := c.line(t); line != "ready" {
		t.Fatalf("%s says %q", role, line)
	}
	return c
}

// contained is the container's first process.
func contained(role string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	volume := os.Getenv("VOLUME")
	if err := unix.Mount(volume, volume, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	play, ok := roles[role]
	if !ok {
		return errors.New("no such role")
	}
	return play(volume, bufio.NewReader(os.Stdin))
}

// roles are what a container's first process can be. Each says "ready", and does what the test
// tells it line by line.
var roles = map[string]func(volume string, in *bufio.Reader) error{
	"idle": func(_ string, in *bufio.Reader) error {
		fmt.Println("ready")
		_, err := in.ReadString('\n')
		return err
	},
	"syncer": func(volume string, in *bufio.Reader) error {
		f, err := os.Create(filepath.Join(volume, "file"))
		if err != nil {
			return err
		}
		fmt.Println("ready")
		if _, err := in.ReadString('\n'); err != nil {
			return err
		}
		fmt.Println("begin")
		fmt.Println(f.Sync())
		_, err = in.ReadString('\n')
		return err
	},
	"vforker":      vforker,
	"writer":       writer,
	"mapper":       mapper,
	"keeper":       keeper,
	"retrier":      retrier,
	"acknowledger": acknowledger,
	"sharer":       sharer,
	"peeker":       peeker,
	"holder":       holder,
}

// path is the path outside the container to a file of the volume as it is inside.
func (c *container) path(name ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(c.init.Process.Pid), "root", c.volume}, name...)...)
}

// say tells the first process something and returns its answer.
func (c *container) say(t testing.TB, what string) string {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, what); err != nil {
		t.Fatal(err)
	}
	return c.line(t)
}

func (c *container) line(t testing.TB) string {
	t.Helper()
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := c.out.ReadString('\n')
		got <- answer{strings.TrimSpace(line), err}
	}()
	select {
	case a := <-got:
		if a.err != nil {
			t.Fatalf("the container's process: %v", a.err)
		}
		return a.line
	case <-time.After(time.Minute):
		t.Fatal("the container's process does not answer")
		return ""
	}
}

// process is a toda that was started as the daemon starts it.
type process struct {
	cmd   *exec.Cmd // nsexec
	rpc   *jrpc2.Client
	ended chan struct{}
}

// inject starts toda as the daemon does: see ApplyIOChaos and bpm.Build in chaos-mesh.
func (c *container) inject(t testing.TB, flags ...string) *process {
	t.Helper()
	ns := fmt.Sprintf("/proc/%d/ns/", c.init.Process.Pid)
	args := append([]string{"-l", "-p", ns + "pid", "-m", ns + "mnt", "--", todaPath, "--path", c.volume, "--verbose", "info"}, flags...)
	p := &process{cmd: exec.Command(nsexecPath, args...), ended: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(todaPath))
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.rpc = jrpc2.NewClient(channel.Line(out, in), nil)
	go func() {
		_, _ = p.cmd.Process.Wait() // only the end counts
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(unix.SIGTERM) // it may have ended
		p.wait(t)
	})
	return p
}

func (p *process) wait(t testing.TB) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		t.Error("toda does not end")
		_ = p.cmd.Process.Kill()
	}
}

// update is what the daemon does with a new toda: within two seconds it has the actions
// and is well.
func (p *process) update(actions ...Action) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if actions == nil {
		actions = []Action{}
	}
	var result string
	if err := p.rpc.CallResult(ctx, "update", []any{actions}, &result); err != nil {
		return err
	}
	if err := p.rpc.CallResult(ctx, "get_status", []any{"ping"}, &result); err != nil {
		return err
	}
	if result != "ok" {
		return errors.New(result)
	}
	return nil
}

func (p *process) mustUpdate(t testing.TB, actions ...Action) {
	t.Helper()
	if err := p.update(actions...); err != nil {
		t.Fatal(err)
	}
}

// recover ends toda as the daemon does.
func (p *process) recover(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
}

// layered tells whether a layer lies over the volume, inside.
func (c *container) layered(t testing.TB) bool {
	t.Helper()
	mounts, err := readMounts(fmt.Sprintf("/proc/%d/mountinfo", c.init.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if m.fsType == FSType {
			return true
		}
	}
	return false
}

// eventually waits until a condition holds that another process brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// inCall tells whether a thread of the first process is in a system call.
func (c *container) inCall(t testing.TB, number int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", c.init.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		b, err := os.ReadFile(thread) // fails if the thread has ended
		if err == nil && strings.HasPrefix(string(b), strconv.Itoa(number)+" ") {
			return true
		}
	}
	return false
}

// children are the processes that a process has started, by the number outside.
func children(t testing.TB, pid int) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}

// guardian and server are the processes of toda.
func (p *process) guardian(t testing.TB) int {
	t.Helper()
	return only(t, children(t, p.cmd.Process.Pid))
}

func (p *process) server(t testing.TB) int {
	t.Helper()
	return only(t, children(t, p.guardian(t)))
}

func only(t testing.TB, pids []int) int {
	t.Helper()
	if len(pids) != 1 {
		t.Fatalf("one process expected: %v", pids)
	}
	return pids[0]
}

// inside runs do in the container's mount namespace.
func (c *container) inside(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and end the thread with its namespace
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", c.init.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(fd, unix.CLONE_NEWNS), unix.Close(fd))
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}
