//go:build cleanup

// The tests of this file interrupt and kill real runs at several steps, and start two at once. They need
// the images and about ten minutes: make test-cleanup.

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
)

const (
	// stepTimeout bounds the wait for a run to reach a step, and for its end.
	stepTimeout = 5 * time.Minute
	cleanWithin = 3 * time.Minute
)

// footprint is what a run may change on a machine and has to take back.
func footprint(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		b, err := os.ReadFile(p)
		line := strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
		for _, ours := range []string{"x0tta6bl4", "e2e.test", "containerd", "dockerd", "/sbin/init", "kube", "kind "} {
			if err == nil && strings.Contains(line, ours) && filepath.Dir(p) != "/proc/self" && !strings.Contains(line, "cleanup") {
				found["processes"] = append(found["processes"], line)
				break
			}
		}
	}
	for what, command := range map[string][]string{
		"mounts":     {"findmnt", "-rn", "-o", "TARGET"},
		"interfaces": {"ip", "-br", "link"},
		"namespaces": {"ip", "netns", "list"},
		"firewall":   {"sh", "-c", "(iptables-save; ip6tables-save; nft list ruleset 2>/dev/null) | sed '/^#/d; s/\\[[0-9:]*\\]//; s/packets [0-9]* bytes [0-9]*//'"},
		"sysctls":    {"sh", "-c", "sysctl -a 2>/dev/null | grep -vE '^(fs.(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota.*)|kernel.(random.*|ns_last_pid|pty.nr|perf_event_max_sample_rate)|net.netfilter.nf_conntrack_count|net.ipv4.route.*) ='"},
		"users":      {"cat", "/etc/passwd", "/etc/group"},
		"units":      {"find", "/etc/systemd", "/lib/systemd/system", "-printf", "%p %l\n"},
		"groups":     {"sh", "-c", "ls -d /sys/fs/cgroup/*x0tta6bl4* /sys/fs/cgroup/*/*x0tta6bl4* /sys/fs/cgroup/docker /sys/fs/cgroup/*/docker 2>/dev/null || true"},
		"files":      {"sh", "-c", "ls -d /tmp/*x0tta6bl4* /run/x0tta6bl4-e2e /run/containerd /run/docker /etc/docker /etc/docker/* /lib/modules /var/lib/x0tta6bl4-e2e/scratch/* /var/lib/x0tta6bl4-e2e/machine.json /var/lib/x0tta6bl4-e2e/images/tmp/* 2>/dev/null || true"},
	} {
		out, err := exec.Command(command[0], command[1:]...).Output()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for line := range strings.Lines(string(out)) {
			found[what] = append(found[what], strings.TrimSpace(line))
		}
	}
	for _, v := range found {
		slices.Sort(v)
	}
	return found
}

// start starts a run and waits until its output has the text of a step.
func start(t *testing.T, binary, until string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(binary, "run", "-profile", "quick")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	output := &bytes.Buffer{}
	reached := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(io.TeeReader(r, output))
		for lines.Scan() {
			if strings.Contains(lines.Text(), until) {
				select {
				case reached <- true:
				default:
				}
			}
		}
		close(reached)
	}()
	select {
	case ok := <-reached:
		if !ok {
			t.Fatalf("the run ended before %q:\n%s", until, output)
		}
	case <-time.After(stepTimeout):
		_ = cmd.Process.Kill()
		t.Fatalf("the run did not reach %q in %s", until, stepTimeout)
	}
	return cmd, output
}

// wait waits for the end of a run.
func wait(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(stepTimeout):
		_ = cmd.Process.Kill()
		t.Fatalf("the run does not end in %s after its interrupt", stepTimeout)
		return nil
	}
}

// runner builds the command, and goes to the project's directory.
func runner(t *testing.T) string {
	t.Helper()
	project, err := projectRoot()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "e2e")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Chdir(project)
	return binary
}

// The second of two runs is told so at once, whatever its TMPDIR, and so is a clean; the first goes on.
func TestSecondRunIsBusy(t *testing.T) {
	binary := runner(t)
	cmd, output := start(t, binary, "create the kind cluster ...")
	for _, args := range [][]string{{"run", "-profile", "quick"}, {"clean"}} {
		ctx, cancel := context.WithTimeout(t.Context(), cleanWithin)
		second := exec.CommandContext(ctx, binary, args...)
		second.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		out, err := second.CombinedOutput()
		cancel()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitUsage || !strings.Contains(string(out), engine.ErrBusy.Error()) {
			t.Errorf("e2e %s beside a run: %v, want exit code %d and %q\n%s", args[0], err, exitUsage, engine.ErrBusy, out)
		}
	}
	if err := cmd.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the first run ended: %v\n%s", err, output)
	}
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = wait(t, cmd)
	if strings.Contains(output.String(), "No such container") {
		t.Errorf("the first run lost its cluster:\n%s", output)
	}
}

// KILLS is how often the engine of a run is killed, at random moments; the next run passes each time.
func TestRunPassesAfterTheEngineWasKilled(t *testing.T) {
	kills, err := strconv.Atoi(os.Getenv("KILLS"))
	if err != nil {
		t.Skip("takes four minutes for each kill: make test-kills KILLS=50")
	}
	binary := runner(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range kills {
		cmd, _ := start(t, binary, "Docker engine: our own runs")
		after := time.Duration(random.Int64N(int64(2 * time.Minute)))
		time.Sleep(after)
		b, err := os.ReadFile("/run/x0tta6bl4-e2e/enclosure.process")
		var pid int
		if _, scanned := fmt.Sscanf(string(b), "%d", &pid); err != nil || scanned != nil {
			t.Fatalf("no engine of ours after %s: %v", after, err)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(-cmd.Process.Pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = wait(t, cmd)
		ctx, cancel := context.WithTimeout(t.Context(), 2*stepTimeout)
		out, err := exec.CommandContext(ctx, binary, "run", "-profile", "quick", "-ginkgo.label-filter=fault-free").CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("kill %d, after %s: the next run: %v\n%s", i, after, err, out)
		}
	}
}

func TestNothingStaysBehind(t *testing.T) {
	binary := runner(t)
	before := footprint(t)
	for name, tc := range map[string]struct {
		step   string
		signal unix.Signal
	}{
		"Ctrl-C while the engine starts":       {"Docker engine ...", unix.SIGINT},
		"Ctrl-C while the cluster is created":  {"create the kind cluster ...", unix.SIGINT},
		"Ctrl-C while it is deployed":          {"deploy Chaos Mesh", unix.SIGINT},
		"Ctrl-C while scenarios run in lanes":  {"pqc-corrupt begins", unix.SIGINT},
		"kill -9 while the cluster is created": {"create the kind cluster ...", unix.SIGKILL},
		"kill -9 while scenarios run in lanes": {"pqc-corrupt begins", unix.SIGKILL},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, output := start(t, binary, tc.step)
			if err := cmd.Process.Signal(tc.signal); err != nil {
				t.Fatal(err)
			}
			if err := wait(t, cmd); err == nil {
				t.Errorf("the run passed although it was ended:\n%s", output)
			}
			if tc.signal == unix.SIGKILL {
				if left := footprint(t); reflect.DeepEqual(left, before) {
					t.Error("a killed run left nothing: this test does not see what one leaves")
				}
				ctx, cancel := context.WithTimeout(t.Context(), cleanWithin)
				defer cancel()
				if out, err := exec.CommandContext(ctx, binary, "clean").CombinedOutput(); err != nil {
					t.Fatalf("clean: %v\n%s", err, out)
				}
			}
			after := footprint(t)
			for what := range before {
				if !slices.Equal(before[what], after[what]) {
					t.Errorf("%s before:\n  %s\nafter:\n  %s", what, strings.Join(before[what], "\n  "), strings.Join(after[what], "\n  "))
				}
			}
			for what := range after {
				if _, ok := before[what]; !ok {
					t.Errorf("%s left:\n  %s", what, strings.Join(after[what], "\n  "))
				}
			}
			if t.Failed() {
				t.Logf("output:\n%s", output)
			}
		})
	}
}
