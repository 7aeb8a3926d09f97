package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/meshnode/api"
)

const (
	// watchEvery is how often a mesh is drawn in a test.
	watchEvery = 5 * time.Millisecond
	// watchWithin bounds a test that waits for a picture, on a busy machine.
	watchWithin = time.Minute
	// watchHere is set in the environment of a process that only watches.
	watchHere = "MESH_TEST_WATCH"
)

// TestMain lets the test's binary be a process that watches a mesh, as mesh status -watch does.
func TestMain(m *testing.M) {
	if os.Getenv(watchHere) != "" {
		os.Exit(watchOnly())
	}
	os.Exit(m.Run())
}

func watchOnly() int {
	ctx, stop := interruptible()
	defer stop()
	if err := show(ctx, os.Stdout, &fakeMesh{pods: []string{"mesh-node-a-0"}}, []string{"mesh-node-a-0"}, watchEvery); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// fakeMesh answers as a mesh does whose nodes have one record more whenever they are asked.
type fakeMesh struct {
	mu   sync.Mutex
	pods []string
	err  error
}

func (m *fakeMesh) Pods(_ context.Context, app string) ([]corev1.Pod, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if app != "mesh-node" {
		return nil, fmt.Errorf("unexpected app %q", app)
	}
	var pods []corev1.Pod
	for _, name := range m.pods {
		pods = append(pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return pods, m.err
}

// become gives the mesh other pods, or makes its API server answer with an error.
func (m *fakeMesh) become(err error, pods ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pods, m.err = pods, err
}

func (m *fakeMesh) WatchStatus(ctx context.Context, node string, every time.Duration, tell func(*api.Status, error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for records := 1000; ; records++ {
		tell(&api.Status{Node: node, Ready: true, Records: records}, nil)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// terminal is one that a person looks at, and its other end, to which a program writes.
type terminal struct {
	program, person *os.File
	mu              sync.Mutex
	text            bytes.Buffer
}

// noTerminal ends a test where no terminal can be made. In CI there must be one.
func noTerminal(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skipf("no terminal can be made here: %v", err)
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	t.Setenv("TERM", "xterm")
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		noTerminal(t, err)
	}
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		noTerminal(t, err)
	}
	t.Cleanup(func() { _ = program.Close() })
	tty := &terminal{program: program, person: person}
	go func() { // a terminal that nobody reads makes its program wait
		for part := make([]byte, 4096); ; {
			n, err := person.Read(part)
			tty.mu.Lock()
			tty.text.Write(part[:n])
			tty.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return tty
}

func (s *terminal) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// until waits until what was written is as wanted.
func (s *terminal) until(t *testing.T, what string, is func(text string) bool) string {
	t.Helper()
	for deadline := time.Now().Add(watchWithin); ; time.Sleep(time.Millisecond) {
		text := s.seen()
		if is(text) {
			return text
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never was on the terminal: %q", what, text)
		}
	}
}

// types is what a person does.
func (s *terminal) types(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(s.person, text); err != nil {
		t.Fatal(err)
	}
}

// modes are how the terminal treats what is typed and written.
func (s *terminal) modes(t *testing.T) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(s.program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

// strange is what a terminal was told beyond where to write and what to wipe: anything else would
// have to be put back.
func strange(text string) string {
	plain := strings.NewReplacer(home, "", restOf, "", restAll, "").Replace(text)
	if i := strings.Index(plain, "\x1b"); i >= 0 {
		return plain[i:min(len(plain), i+16)]
	}
	return ""
}

// pages are those that were drawn whole: each begins at the upper left, and the last one may not be over.
func pages(text string) []string {
	all := strings.Split(text, home)
	return all[min(1, len(all)-1) : len(all)-1]
}

// TestWatchRedraws: what the nodes say later takes the place of what they said, nodes that come are shown, and a mesh that
// goes ends the watch.
func TestWatchRedraws(t *testing.T) {
	tty := newTerminal(t)
	m := &fakeMesh{pods: []string{"mesh-node-a-0"}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- show(ctx, tty.program, m, []string{"mesh-node-a-0"}, watchEvery) }()
	text := tty.until(t, "a change", func(text string) bool { return len(slices.Compact(pages(text))) > 2 })
	for i, p := range pages(text) {
		if !strings.Contains(p, "1 nodes, at") || !strings.HasSuffix(p, restAll) || strings.HasPrefix(p, restAll) != (i == 0) {
			t.Errorf("page %d is %q", i, p)
		}
	}
	if got := strange(strings.Join(pages(text), "")); got != "" || !strings.HasPrefix(text, home) {
		t.Errorf("the terminal was told %q, and %q", got, text[:min(len(text), 16)])
	}
	// An API server that does not answer takes no node away.
	m.become(errors.New("no answer"), "mesh-node-z-9")
	drawn := len(pages(text))
	text = tty.until(t, "a later page", func(text string) bool { return len(pages(text)) > drawn+4*rosterEvery })
	if last := pages(text)[len(pages(text))-1]; !strings.Contains(last, "mesh-node-a-0") || strings.Contains(last, "mesh-node-z-9") {
		t.Errorf("without an answer of the API server: %q", last)
	}
	m.become(nil, "mesh-node-a-0", "mesh-node-b-0")
	tty.until(t, "a node that has come", func(text string) bool {
		return strings.Contains(text, "2 nodes, at") && strings.Contains(text, "mesh-node-b-0")
	})
	m.become(nil)
	if err := <-over; !errors.Is(err, scenario.ErrNoMesh) {
		t.Errorf("the mesh is gone: %v", err)
	}
}

// TestWatchEndsOnInterrupt: a person's Ctrl-C ends a watch as done, and the terminal is as it was, on a line of its own.
func TestWatchEndsOnInterrupt(t *testing.T) {
	tty := newTerminal(t)
	before := tty.modes(t)
	ctx, cancel := context.WithTimeout(t.Context(), watchWithin)
	defer cancel()
	// A shell waits for the watch, as a person's does, and stays: the terminal of one that ends is hung up.
	shell := exec.CommandContext(ctx, "sh", "-c", `trap : INT; "$0"; printf 'ENDED %s' "$?"; read -r _`, os.Args[0])
	shell.Env = append(os.Environ(), watchHere+"=1")
	shell.Stdin, shell.Stdout, shell.Stderr = tty.program, tty.program, tty.program
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // or what is typed interrupts nobody
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	tty.until(t, "a page", func(text string) bool { return len(pages(text)) > 1 })
	tty.types(t, string(rune('C'-'@'))) // Ctrl-C
	text := tty.until(t, "the end", regexp.MustCompile(`ENDED [0-9]`).MatchString)
	if !strings.HasSuffix(strings.Replace(text, "^C", "", 1), "\r\nENDED 0") { // the kernel shows ^C where the cursor is just then
		t.Errorf("it did not end as done, or what comes after it has no line of its own: %q", text[max(0, len(text)-64):])
	}
	if strings.Contains(text, "\x1b[?") {
		t.Errorf("a mode of the terminal was changed: %q", text)
	}
	if after := tty.modes(t); after != before {
		t.Errorf("the terminal's modes are %+v, and were %+v", after, before)
	}
	tty.types(t, "\n")
	if err := shell.Wait(); err != nil {
		t.Error(err)
	}
}

// TestStrange: what a screen is told beyond where to write and what to wipe is seen.
func TestStrange(t *testing.T) {
	for text, want := range map[string]string{
		home + "x" + restOf + "\n" + restAll: "",
		home + "\x1b[?25l":                   "\x1b[?25l",
		"\x1b[31mred" + restAll:              "\x1b[31mred",
		"\x1b[2J":                            "\x1b[2J",
	} {
		if got := strange(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
