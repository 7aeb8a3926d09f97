// Package progress shows long work to a person: named steps with elapsed time and
// what they are doing, as a live line on a terminal and as plain lines elsewhere.
package progress

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	liveEvery  = 200 * time.Millisecond
	plainEvery = 30 * time.Second // how often a running step is mentioned where lines cannot be redrawn
)

// Phase is a finished step.
type Phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Reporter writes the steps of one command. Its methods may be called from
// several goroutines; steps may overlap.
type Reporter struct {
	out   io.Writer
	live  bool
	width func() int
	start time.Time

	mu      sync.Mutex
	running []*Step
	phases  []Phase
	stop    chan struct{}
	stopped sync.WaitGroup
}

// New returns a Reporter on f, live if f is a terminal. Close it.
func New(f *os.File) *Reporter {
	live := term.IsTerminal(int(f.Fd())) && os.Getenv("CI") == ""
	width := func() int {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return w
		}
		return 80
	}
	return newReporter(f, live, width)
}

func newReporter(out io.Writer, live bool, width func() int) *Reporter {
	r := &Reporter{out: out, live: live, width: width, start: time.Now(), stop: make(chan struct{})}
	every := plainEvery
	if live {
		every = liveEvery
	}
	r.stopped.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.redraw()
			case <-r.stop:
				return
			}
		}
	})
	return r
}

// Close stops redrawing and leaves the cursor on an empty line.
func (r *Reporter) Close() {
	close(r.stop)
	r.stopped.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
}

// Phases returns the finished steps in the order in which they ended.
func (r *Reporter) Phases() []Phase {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Phase(nil), r.phases...)
}

// Printf writes one line of its own.
func (r *Reporter) Printf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line(fmt.Sprintf(format, args...))
}

// Step starts a step.
func (r *Reporter) Step(name string) *Step {
	s := &Step{reporter: r, name: name, start: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = append(r.running, s)
	if !r.live {
		r.line(name + " ...")
	}
	return s
}

func (r *Reporter) redraw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.live {
		for _, s := range r.running {
			r.line(s.describe())
		}
		return
	}
	if len(r.running) == 0 {
		return
	}
	parts := make([]string, len(r.running))
	for i, s := range r.running {
		parts[i] = s.describe()
	}
	text := []rune(clock(time.Since(r.start)) + "  " + strings.Join(parts, " | "))
	if w := r.width() - 1; w > 0 && len(text) > w {
		text = text[:w]
	}
	r.clear()
	fmt.Fprint(r.out, string(text))
}

// line and clear are called with mu held.
func (r *Reporter) line(text string) {
	r.clear()
	fmt.Fprintf(r.out, "%s  %s\n", clock(time.Since(r.start)), text)
}

func (r *Reporter) clear() {
	if r.live {
		fmt.Fprint(r.out, "\r\x1b[K")
	}
}

// Step is one piece of work. As a Writer it takes a command's output, whose last
// line it shows as what the step is doing.
type Step struct {
	reporter *Reporter
	name     string
	start    time.Time
	detail   string // under reporter.mu
	partial  []byte // under reporter.mu
}

// Detail says what the step is doing now.
func (s *Step) Detail(format string, args ...any) {
	s.reporter.mu.Lock()
	defer s.reporter.mu.Unlock()
	s.detail = fmt.Sprintf(format, args...)
}

// Write implements io.Writer.
func (s *Step) Write(p []byte) (int, error) {
	s.reporter.mu.Lock()
	defer s.reporter.mu.Unlock()
	s.partial = append(s.partial, p...)
	for {
		i := bytes.IndexAny(s.partial, "\r\n")
		if i < 0 {
			return len(p), nil
		}
		if text := strings.TrimSpace(string(s.partial[:i])); text != "" {
			s.detail = text
		}
		s.partial = s.partial[i+1:]
	}
}

func (s *Step) describe() string {
	text := s.name + " " + clock(time.Since(s.start))
	if s.detail != "" {
		text += ": " + s.detail
	}
	return text
}

// End finishes the step: note says what came of it, err why it failed.
// It returns err, so that a step can end a function.
func (s *Step) End(note string, err error) error {
	r := s.reporter
	took := time.Since(s.start)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, other := range r.running {
		if other == s {
			r.running = append(r.running[:i], r.running[i+1:]...)
			break
		}
	}
	r.phases = append(r.phases, Phase{s.name, took.Round(time.Millisecond).Seconds()})
	switch {
	case err != nil:
		r.line(fmt.Sprintf("%s: failed after %s", s.name, clock(took)))
	case note != "":
		r.line(fmt.Sprintf("%s: %s (%s)", s.name, note, clock(took)))
	default:
		r.line(fmt.Sprintf("%s: done (%s)", s.name, clock(took)))
	}
	return err
}

// clock formats d as minutes and seconds.
func clock(d time.Duration) string {
	seconds := int(d.Seconds())
	return fmt.Sprintf("%2d:%02d", seconds/60, seconds%60)
}
