package live

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sys/unix"
)

// noTerminal ends a test where no terminal can be made. In CI there must be one.
func noTerminal(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skipf("no terminal can be made here: %v", err)
}

// terminal returns both ends of a terminal of so many columns and rows: what a person sees,
// and what a program writes to.
func terminal(t *testing.T, columns, rows uint16) (seen, written *os.File) {
	t.Helper()
	seen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		noTerminal(t, err)
	}
	t.Cleanup(func() { _ = seen.Close() })
	if err := unix.IoctlSetPointerInt(int(seen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(seen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	written, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		noTerminal(t, err)
	}
	t.Cleanup(func() { _ = written.Close() })
	if err := unix.IoctlSetWinsize(int(seen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return seen, written
}

func environ(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// TestTerminalIsRestored sees that a terminal is as it was once a view is closed, and that
// its log is on it.
func TestTerminalIsRestored(t *testing.T) {
	seen, written := terminal(t, 80, 24)
	modes, err := unix.IoctlGetTermios(int(written.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	v := Show(written, written, NewState("suite", epoch, "a"), environ())
	v.Send(Event{Kind: Begins, At: second(1), Scenario: "a", Lane: 1})
	fmt.Fprintln(v, "what it has printed")
	v.Send(Event{Kind: Ends, At: second(2), Scenario: "a", Text: "passed after 1s"})
	v.Close()
	v.Send(Event{Kind: Said, At: second(3), Text: "too late"}) // and nobody hangs
	fmt.Fprintln(written, "THE END")
	text := until(t, seen, "THE END")
	shown, left, found := strings.Cut(text, "\x1b[?1049l") // leave the alternate screen
	if !found || !strings.Contains(shown, "\x1b[?1049h") {
		t.Fatalf("the alternate screen was not entered and left: %q", text)
	}
	if hidden := strings.LastIndex(text, "\x1b[?25l"); hidden > strings.LastIndex(text, "\x1b[?25h") {
		t.Errorf("the cursor stays hidden: %q", text)
	}
	for _, want := range []string{"a begins", "what it has printed", "a passed after 1s"} {
		if !strings.Contains(left, want) {
			t.Errorf("the log that is left lacks %q: %q", want, left)
		}
	}
	after, err := unix.IoctlGetTermios(int(written.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *after != *modes {
		t.Errorf("the terminal's modes are %+v, and were %+v", after, modes)
	}
}

// until reads what a person sees until a mark.
func until(t *testing.T, seen io.Reader, mark string) string {
	t.Helper()
	var all bytes.Buffer
	for part := make([]byte, 4096); !strings.Contains(all.String(), mark); {
		n, err := seen.Read(part)
		all.Write(part[:n])
		if err != nil {
			t.Fatalf("%v after %q", err, all.String())
		}
	}
	return all.String()
}

// TestPlainLines sees lines where no screen can be, and no escape sequence in them.
func TestPlainLines(t *testing.T) {
	_, written := terminal(t, 80, 24)
	none, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	for name, tc := range map[string]struct {
		out *os.File
		env func(string) string
	}{
		"no terminal":     {none, environ()},
		"CI":              {written, environ("CI", "true")},
		"a dumb terminal": {written, environ("TERM", "dumb")},
	} {
		var log bytes.Buffer
		v := Show(tc.out, &log, NewState("suite", epoch, "a"), tc.env)
		v.Send(Event{Kind: Begins, At: second(1), Scenario: "a"})
		v.Send(Event{Kind: Traffic, At: second(1), Scenario: "a"})
		fmt.Fprint(v, "text\n")
		v.Close()
		if got, want := log.String(), " 0:01  a begins\ntext\n"; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestNoColor sees that colours go by NO_COLOR, of which only an empty value is none.
func TestNoColor(t *testing.T) {
	for _, c := range []struct {
		env      func(string) string
		coloured bool
	}{{environ(), true}, {environ("NO_COLOR", ""), true}, {environ("NO_COLOR", "1"), false}, {environ("NO_COLOR", "0"), false}} {
		got := Screen(midway(), second(120), 80, 24, themeOf(c.env))
		if coloured := strings.Contains(got, "\x1b["); coloured != c.coloured {
			t.Errorf("NO_COLOR is %q: coloured %t", c.env("NO_COLOR"), coloured)
		}
	}
}

// TestSize sees a change of the terminal's size taken in, and nothing drawn anew without one.
func TestSize(t *testing.T) {
	width := 80
	m := model{state: midway(), theme: NewTheme(false), size: func() (int, int) { return width, 24 }, width: 80, height: 24}
	sizes := func() (all []tea.Msg) {
		t.Helper()
		_, next := m.Update(tick(second(1)))
		// The next tick itself comes with time, so only a batch has anything else in it.
		if b, ok := next().(tea.BatchMsg); ok {
			all = append(all, b[1]())
		}
		return all
	}
	if got := sizes(); len(got) != 0 {
		t.Errorf("the same size is told: %v", got)
	}
	width = 100
	if got := sizes(); len(got) != 1 || got[0] != (tea.WindowSizeMsg{Width: 100, Height: 24}) {
		t.Errorf("another size: %v", got)
	}
	later, _ := m.Update(tick(second(120)))
	wider, _ := later.Update(tea.WindowSizeMsg{Width: 100, Height: 24})
	if v := wider.View(); !v.AltScreen || v.Content != Screen(midway(), second(120), 100, 24, NewTheme(false)) {
		t.Errorf("the wider screen: %s", v.Content)
	}
}
