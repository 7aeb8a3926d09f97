// Package verify judges what clients were promised against what the mesh
// holds. Its functions are pure: they read a recorded history, so a saved one
// can be judged again.
package verify

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Result is what a client knows of an operation.
type Result string

const (
	// OK means that the operation was answered.
	OK Result = "ok"
	// Fail means that it certainly did not happen.
	Fail Result = "fail"
	// Unknown means that no answer came: it may have happened.
	Unknown Result = "unknown"
)

// Kinds of operation.
const (
	Write = "write"
	Read  = "read"
)

// Operation is one line of a recording client's history, as meshnode client
// writes it.
type Operation struct {
	Op       string    `json:"op"`
	ID       string    `json:"id"`
	Node     string    `json:"node"`
	Invoked  time.Time `json:"invoked"`
	Returned time.Time `json:"returned"`
	Result   Result    `json:"result"`
	// Found says that a read that was answered returned the record.
	Found bool `json:"found,omitempty"`
	// Status is that of the last HTTP answer; 0 if there was none.
	Status int `json:"status,omitempty"`
	// Attempts is how often it was tried within the retry budget.
	Attempts int `json:"attempts,omitempty"`
}

// maxLine bounds a line of a history, in bytes.
const maxLine = 1 << 20

// ParseHistory reads JSON lines. The error names the line: a history that
// cannot be read whole proves nothing.
func ParseHistory(r io.Reader) ([]Operation, error) {
	var ops []Operation
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxLine)
	for line := 1; s.Scan(); line++ {
		var o Operation
		if err := json.Unmarshal(s.Bytes(), &o); err != nil {
			return nil, fmt.Errorf("history line %d: %w", line, err)
		}
		if err := o.check(); err != nil {
			return nil, fmt.Errorf("history line %d: %w", line, err)
		}
		ops = append(ops, o)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("history after line %d: %w", len(ops), err)
	}
	return ops, nil
}

func (o Operation) check() error {
	switch {
	case o.Op != Write && o.Op != Read:
		return fmt.Errorf("unknown operation %q", o.Op)
	case o.Result != OK && o.Result != Fail && o.Result != Unknown:
		return fmt.Errorf("unknown result %q", o.Result)
	case o.ID == "" || o.Node == "":
		return fmt.Errorf("operation %q without id or node", o.Op)
	case o.Invoked.IsZero() || o.Returned.Before(o.Invoked):
		return fmt.Errorf("operation on %q returned at %v, invoked at %v", o.ID, o.Returned, o.Invoked)
	}
	return nil
}
