package live

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"
)

const (
	// redrawEvery is how often times are redrawn, and a change of the terminal's size is seen.
	redrawEvery = time.Second
	// perSecond is how often the screen may change in a second.
	perSecond = 10
	// closesWithin bounds the wait for a terminal to be as it was.
	closesWithin = 5 * time.Second
	// waiting is how many events wait for a terminal that stands still, as one does after
	// Ctrl-S. Later ones are in the log only.
	waiting = 4096
)

// View shows a run to whoever started it.
type View interface {
	// Send shows an event. It and Write may be called by several goroutines.
	Send(e Event)
	// Write takes text that is of no event, such as what a scenario's process has printed:
	// a screen keeps it for the log.
	io.Writer
	// Close ends it: a terminal is as it was, and its log is on it.
	Close()
}

// Show begins to show a run: as a screen on a terminal that can, and elsewhere as lines in a
// log. In CI it is lines: what is written there is kept for later. getenv is os.Getenv.
func Show(terminal *os.File, log io.Writer, s State, getenv func(string) string) View {
	if !term.IsTerminal(int(terminal.Fd())) || getenv("CI") != "" || getenv("TERM") == "dumb" {
		return Lines(log, s.Started)
	}
	return newScreen(terminal, log, s, themeOf(getenv))
}

// Lines shows a run that has started then as lines.
func Lines(out io.Writer, started time.Time) View { return &lines{started: started, out: out} }

// lines writes events one a line.
type lines struct {
	started time.Time
	mu      sync.Mutex
	out     io.Writer
}

func (l *lines) Send(e Event) {
	if text := Line(l.started, e); text != "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		fmt.Fprintln(l.out, text)
	}
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(text)
}

func (l *lines) Close() {}

// screen draws the state on a terminal.
type screen struct {
	program *tea.Program
	events  chan Event
	ended   chan struct{}
	out     io.Writer
	started time.Time

	mu  sync.Mutex
	log bytes.Buffer // which is left on the terminal
}

// newScreen begins to draw. It reads no key and takes no signal: those are of whoever runs
// the suite, and a terminal that nobody has changed the modes of needs no mending.
func newScreen(f *os.File, log io.Writer, s State, theme Theme) *screen {
	m := model{state: s, theme: theme, size: func() (width, height int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0, 0
		}
		return width, height
	}}
	v := &screen{
		program: tea.NewProgram(m, tea.WithInput(nil), tea.WithOutput(f), tea.WithoutSignalHandler(), tea.WithFPS(perSecond)),
		events:  make(chan Event, waiting),
		ended:   make(chan struct{}),
		out:     log,
		started: s.Started,
	}
	go func() {
		defer close(v.ended)
		_, _ = v.program.Run() // without it the log still tells all
	}()
	go func() {
		for {
			select {
			case e := <-v.events:
				v.program.Send(e)
			case <-v.ended:
				return
			}
		}
	}()
	return v
}

func (v *screen) Send(e Event) {
	if text := Line(v.started, e); text != "" {
		fmt.Fprintln(v, text)
	}
	select {
	case v.events <- e:
	default:
	}
}

func (v *screen) Write(text []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.log.Write(text)
}

func (v *screen) Close() {
	go v.program.Quit() // which waits for the terminal, too
	late := time.NewTimer(closesWithin)
	defer late.Stop()
	select {
	case <-v.ended:
	case <-late.C:
		go v.program.Kill()
		select {
		case <-v.ended:
		case <-time.After(closesWithin):
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = v.log.WriteTo(v.out)
}

// model is what Bubble Tea draws.
type model struct {
	state         State
	theme         Theme
	size          func() (width, height int)
	now           time.Time
	width, height int
}

type tick time.Time

func again() tea.Cmd {
	return tea.Tick(redrawEvery, func(t time.Time) tea.Msg { return tick(t) })
}

func (m model) Init() tea.Cmd { return again() }

// Update takes a message in. The terminal's size is looked at with each tick: the signal
// that tells of a change goes to the process in the foreground, which may be another.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tick:
		m.now = time.Time(msg)
		next := again()
		if w, h := m.size(); w > 0 && h > 0 && (w != m.width || h != m.height) {
			next = tea.Batch(next, func() tea.Msg { return tea.WindowSizeMsg{Width: w, Height: h} })
		}
		return m, next
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case Event:
		m.state = m.state.After(msg)
	}
	return m, nil
}

func (m model) View() tea.View {
	now := m.now
	if now.IsZero() {
		now = time.Now()
	}
	v := tea.NewView(Screen(m.state, now, m.width, m.height, m.theme))
	v.AltScreen = true
	return v
}
