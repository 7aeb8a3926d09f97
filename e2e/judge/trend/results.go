// Package trend keeps what runs have measured, and tells a value that has moved from noise.
package trend

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Run is what is kept of one run: a line of the results file.
type Run struct {
	Run     string    `json:"run"`    // its directory of artefacts
	Commit  string    `json:"commit"` // "+" after it: the working tree was changed
	Started time.Time `json:"started"`
	Profile string    `json:"profile"`
	Cores   int       `json:"cores"`
	Kernel  string    `json:"kernel"`
	// Speed is what Calibrate gave beside the run; see there.
	Speed  float64 `json:"speed"`
	Values []Value `json:"values"`
}

// Value is what one criterion measured.
type Value struct {
	Scenario  string  `json:"scenario"`
	Criterion string  `json:"criterion"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
}

// Of returns what is to be kept of a run's summary: what its criteria measured in a unit,
// whether that was enough or not. What says yes or no is no measurement, and how long something
// was waited for that never came is the suite's patience.
func Of(run, commit string, speed float64, s *report.Summary) Run {
	r := Run{Run: run, Commit: commit, Started: s.Started, Profile: s.Profile, Cores: s.Machine.Cores, Kernel: s.Machine.Kernel, Speed: speed}
	for _, sc := range s.Scenarios {
		for _, c := range sc.Criteria {
			judged := c.Verdict == report.Passed || c.Verdict == report.Failed
			if judged && c.Measured != nil && c.Unit != "" && !c.Never {
				r.Values = append(r.Values, Value{sc.Name, c.ID, *c.Measured, c.Unit})
			}
		}
	}
	return r
}

// Append adds a run to a results file.
func Append(path string, r Run) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}

// maxLine bounds a line of a results file, in bytes.
const maxLine = 1 << 20

// Read reads a results file, in the order in which runs were added. A file that there is not
// holds none.
func Read(path string) ([]Run, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var runs []Run
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		var r Run
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s:%d: %w; take the line out", path, n, err)
		}
		runs = append(runs, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return runs, nil
}
