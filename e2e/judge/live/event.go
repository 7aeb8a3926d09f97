package live

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Kind says what has happened.
type Kind string

// The kinds of events, and which fields of an Event they have besides Kind, At and Scenario.
const (
	Begins  Kind = "begins"  // Lane, Criteria: a scenario gets a lane
	Ends    Kind = "ends"    // Text: how
	Step    Kind = "step"    // Text: what it does from now on
	Applied Kind = "applied" // Fault, Until: it is asked for, and is over by itself then
	Proven  Kind = "proven"  // Fault: it bites, seen from outside
	Healed  Kind = "healed"  // Fault: it is over, seen from outside, or was taken back
	Judging Kind = "judging" // Criterion: only its id
	Judged  Kind = "judged"  // Criterion
	Traffic Kind = "traffic" // Traffic
	Opened  Kind = "opened"  // Incident
	Closed  Kind = "closed"  // Incident
	Aborted Kind = "aborted" // Text: by what
	Said    Kind = "said"    // Text: what is only to be read
)

// Event is something that happens in a run. A kind that a reader does not know says nothing
// to it.
type Event struct {
	Kind      Kind        `json:"kind"`
	At        time.Time   `json:"at"`
	Scenario  string      `json:"scenario,omitempty"` // of which it tells; empty: of the whole run
	Lane      int         `json:"lane,omitempty"`     // from 1
	Text      string      `json:"text,omitempty"`
	Fault     string      `json:"fault,omitempty"`
	Until     time.Time   `json:"until,omitzero"`
	Criteria  []Criterion `json:"criteria,omitempty"`
	Criterion *Criterion  `json:"criterion,omitempty"`
	Traffic   *Rates      `json:"traffic,omitempty"`
	Incident  *Incident   `json:"incident,omitempty"`
}

// Criterion is how far one is.
type Criterion struct {
	ID string `json:"id"`
	// Verdict is empty before it was judged.
	Verdict report.Verdict `json:"verdict,omitempty"`
	Got     string         `json:"got,omitempty"` // what was measured, with its unit
	Bar     string         `json:"bar,omitempty"` // with its relation and unit
}

// Rates are operations of the recording clients, per second.
type Rates struct {
	Operations float64 `json:"operations"`
	Failures   float64 `json:"failures"`
}

// Incident is one that a node's loop has open.
type Incident struct {
	Node string `json:"node"`
	Type string `json:"type"`
}

// CriterionOf is how a criterion was judged. bar is its own, for where nothing was measured.
func CriterionOf(c report.Criterion, bar string) Criterion {
	if w := c.Wanted(); w != "" {
		bar = w
	}
	return Criterion{ID: c.ID, Verdict: c.Verdict, Got: c.Got(), Bar: bar}
}

// Sender tells events of one scenario. A nil one tells nobody.
type Sender struct {
	scenario string
	mu       sync.Mutex
	out      io.Writer
}

// NewSender returns a sender of a scenario's events to a writer that must not block for long.
func NewSender(out io.Writer, scenario string) *Sender { return &Sender{scenario: scenario, out: out} }

// Send tells an event, now. That it cannot is no trouble of who judges.
func (s *Sender) Send(e Event) {
	if s == nil {
		return
	}
	e.At, e.Scenario = time.Now(), s.scenario
	line, err := json.Marshal(e)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.out.Write(append(line, '\n'))
}

// maxLine bounds a line of events, in bytes.
const maxLine = 64 << 10

// Read calls take with each event until the input ends. What is no event is left out.
func Read(in io.Reader, take func(Event)) {
	r := bufio.NewReaderSize(in, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) { // too long to be one of ours
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			line = nil
		}
		var e Event
		if len(line) > 0 && json.Unmarshal(line, &e) == nil && e.Kind != "" {
			take(e)
		}
		if err != nil {
			return
		}
	}
}
