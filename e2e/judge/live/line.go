package live

import (
	"fmt"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Line is an event as a line of a log, with the time since a run began; empty for one that
// is only to be drawn.
func Line(started time.Time, e Event) string {
	said := e.said()
	if said == "" {
		return ""
	}
	if e.Scenario != "" {
		said = e.Scenario + said
	}
	return clock(e.At.Sub(started)) + "  " + strings.Join(strings.Fields(said), " ")
}

// said is what an event says of its scenario, to be read right after its name.
func (e Event) said() string {
	switch e.Kind {
	case Begins:
		return " begins"
	case Ends:
		return " " + e.Text
	case Step:
		return ": " + e.Text
	case Proven:
		return fmt.Sprintf(": %s bites", e.Fault)
	case Healed:
		return fmt.Sprintf(": %s is over", e.Fault)
	case Judged:
		if e.Criterion != nil {
			return ": " + e.Criterion.String()
		}
	case Opened, Closed:
		if e.Incident != nil {
			return fmt.Sprintf(": %s %s on %s", e.Incident.Type, e.Kind, e.Incident.Node)
		}
	case Aborted:
		return ": aborted: " + e.Text
	case Said:
		if e.Scenario != "" {
			return ": " + e.Text
		}
		return e.Text
	}
	return ""
}

// String is the criterion for a person: its id, its verdict, and what was measured against
// which bar.
func (c Criterion) String() string {
	return strings.Join(strings.Fields(c.ID+" "+string(c.Verdict)+" "+c.figures()), " ")
}

// figures are what was measured and the bar. Yes and no are told by the verdict.
func (c Criterion) figures() string {
	switch {
	case c.Got == "" || c.Bar == "yes" && c.Verdict == report.Passed:
		return c.Bar
	case c.Bar == "":
		return c.Got
	}
	return c.Got + " (" + c.Bar + ")"
}

// clock is a time as minutes and seconds.
func clock(d time.Duration) string {
	seconds := int(max(d, 0).Seconds())
	return fmt.Sprintf("%2d:%02d", seconds/60, seconds%60)
}
