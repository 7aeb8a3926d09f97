package mutant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Outcome is what became of a test.
type Outcome string

// The outcomes. Only Failed means that a defect was caught.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
	NotRun  Outcome = "not run" // it did not build, there is no such test, or the time was up before it
)

// testTimeout is go test's limit for one cheapest test.
const testTimeout = "5m"

// Cheapest runs the cheapest test of a defect, with the defect or without it, and returns what
// came of it and what was printed. root is the module's directory.
func Cheapest(ctx context.Context, root string, m Mutant, seeded bool) (Outcome, string, error) {
	args := []string{"test", "-json", "-count", "1", "-timeout", testTimeout, "-run", "^" + m.Test + "$"}
	if seeded {
		args = append(args, "-tags", m.Tag())
	}
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append(args, m.Package)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, &out, &stderr
	if err := cmd.Run(); err != nil && ctx.Err() != nil {
		return NotRun, "", context.Cause(ctx)
	} else if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return NotRun, "", err
	}
	o, said, err := outcome(&out, m.Test)
	return o, said + stderr.String(), err
}

// outcome reads what go test -json says of one test. A test that was under way when its
// process came to an end has failed: a defect may take the node down. When its time was up,
// nobody knows.
func outcome(r io.Reader, test string) (o Outcome, said string, err error) {
	o = NotRun
	var text strings.Builder
	running, ended := false, false
	for dec := json.NewDecoder(r); ; {
		var e struct{ Action, Test, Output string }
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return NotRun, text.String(), fmt.Errorf("go test -json: %w", err)
		}
		text.WriteString(e.Output)
		switch {
		case e.Test == test && e.Action == "run":
			running = true
		case e.Test == test && e.Action == "pass":
			o, running = Passed, false
		case e.Test == test && e.Action == "skip":
			o, running = Skipped, false
		case e.Test == test && e.Action == "fail":
			o, running = Failed, false
		case e.Test == "" && e.Action == "fail":
			ended = true
		}
	}
	if running && ended {
		o = Failed
	}
	if strings.Contains(text.String(), "panic: test timed out") {
		o = NotRun
	}
	return o, text.String(), nil
}
