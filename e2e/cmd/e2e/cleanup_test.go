//go:build cleanup

// The tests of this file interrupt and kill real runs at several steps. They need
// the images and about five minutes: make test-cleanup.

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
		"firewall":   {"sh", "-c", "iptables-save | grep -v '^[#:]'; iptables-save | sed -n 's/^:\\([^ ]* [^ ]*\\).*/\\1/p'"},
		"files":      {"sh", "-c", "ls -d /tmp/x0tta6bl4-e2e-[a-z]*/ /run/x0tta6bl4* 2>/dev/null || true"},
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
	w.Close()
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

func TestNothingStaysBehind(t *testing.T) {
	project, err := projectRoot()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "e2e")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Chdir(project)
	before := footprint(t)
	for name, tc := range map[string]struct {
		step   string
		signal unix.Signal
	}{
		"Ctrl-C while the engine starts":       {"Docker engine ...", unix.SIGINT},
		"Ctrl-C while the cluster is created":  {"create the kind cluster ...", unix.SIGINT},
		"Ctrl-C while it is deployed":          {"deploy Chaos Mesh", unix.SIGINT},
		"kill -9 while the cluster is created": {"create the kind cluster ...", unix.SIGKILL},
		"kill -9 while a scenario runs":        {"deploy Chaos Mesh, Prometheus and metrics-server: done", unix.SIGKILL},
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
