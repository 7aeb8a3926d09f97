package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// timelineFile is in the directory of a scenario's artefacts.
const timelineFile = "timeline.json"

// Timeline is what a scenario went through, for whoever draws it.
type Timeline struct {
	Namespace string    `json:"namespace"`
	Nodes     []string  `json:"nodes"`
	Start     time.Time `json:"start"` // of the baseline
	End       time.Time `json:"end"`
	Faults    []Span    `json:"faults"`
	Curves    []Curve   `json:"curves"`
}

// Span is one fault. A time that never came is null.
type Span struct {
	Name    string     `json:"name"`
	Victims []string   `json:"victims"`
	Applied time.Time  `json:"applied"`
	Ended   *time.Time `json:"ended"` // seen from outside
	Fault
}

// Curve is a metric that a criterion read, in each pod.
type Curve struct {
	Selector string `json:"selector"`
	Query    string `json:"query"` // what is drawn
	// Pods has pairs of seconds since Start and a value.
	Pods map[string][][2]float64 `json:"pods"`
}

// Write writes the timeline into a scenario's directory.
func (t *Timeline) Write(dir string) error {
	b, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("%s: %w", timelineFile, err)
	}
	return os.WriteFile(filepath.Join(dir, timelineFile), append(b, '\n'), 0o644)
}

// ReadTimeline reads the timeline of a scenario's directory. A scenario that never began
// has none, and nor have runs of before: then it is nil.
func ReadTimeline(dir string) (*Timeline, error) {
	b, err := os.ReadFile(filepath.Join(dir, timelineFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var t Timeline
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, fmt.Errorf("%s in %s: %w", timelineFile, dir, err)
	}
	return &t, nil
}
