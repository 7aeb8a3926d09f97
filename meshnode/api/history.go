package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Result is what a client knows of an operation.
type Result string

// The results.
const (
	OK      Result = "ok"      // it was answered
	Failed  Result = "fail"    // it certainly did not happen
	Unknown Result = "unknown" // no answer came: it may have happened
)

// Kinds of operation. OpSession creates, updates or reads a client session.
const (
	OpWrite   = "write"
	OpRead    = "read"
	OpSession = "session"
)

// RetryBudget is the time in which the recording client repeats an operation
// before it has failed.
const RetryBudget = 2 * time.Second

// ClockHeader is the header of a history that says what time it was at the client when it was asked for, in
// RFC 3339 with nanoseconds: by the clock that dates its operations.
const ClockHeader = "Mesh-Clock"

// Operation is one line of a recording client's history.
type Operation struct {
	Op string `json:"op"`
	// ID names the record or the session; of a session that could not be made
	// it is NoSession.
	ID string `json:"id"`
	// Node is the node that was asked, or, through a Service, the one that
	// answered last; the Service itself if none did.
	Node string `json:"node"`
	// Service is the Service through which it was asked; empty: directly.
	Service string `json:"service,omitempty"`
	// Times have nanoseconds (RFC 3339).
	Invoked  time.Time `json:"invoked"`
	Returned time.Time `json:"returned"`
	Result   Result    `json:"result"`
	// Size is the length of a write's body in bytes; see RecordBody for the rest of it.
	Size int `json:"size,omitempty"`
	// Found says that a read returned the record, with the right content. A
	// node that answers that it has no such record makes the read ok, not found.
	Found bool `json:"found,omitempty"`
	// Home and Version are those of a session that was answered.
	Home     string   `json:"home,omitempty"`
	Version  uint64   `json:"version,omitempty"`
	Status   int      `json:"status"` // of the last attempt; 0 without an answer
	Attempts int      `json:"attempts"`
	Errors   []string `json:"errors,omitempty"` // of the attempts that failed
}

// NoSession is the id in the history of a session that could not be made.
const NoSession = "(none)"

// RecordBody is the content that a recording client gives the record with an id: size
// bytes that follow from the id, so that a reader can tell whether it got the right ones.
func RecordBody(id string, size int) []byte {
	sum := sha256.Sum256([]byte(id))
	line := append([]byte(id+" "), hex.EncodeToString(sum[:])...)
	return bytes.Repeat(append(line, '\n'), size/(len(line)+1)+1)[:size]
}

// maxLine bounds a line of a history, in bytes.
const maxLine = 1 << 20

// ReadHistory reads JSON lines until the end of r. The error names the line: a
// history that cannot be read whole proves nothing.
func ReadHistory(r io.Reader) ([]Operation, error) {
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

func (o *Operation) check() error {
	switch {
	case o.Op != OpWrite && o.Op != OpRead && o.Op != OpSession:
		return fmt.Errorf("unknown operation %q", o.Op)
	case o.Result != OK && o.Result != Failed && o.Result != Unknown:
		return fmt.Errorf("unknown result %q", o.Result)
	case o.ID == "" || o.Node == "":
		return fmt.Errorf("operation %q without id or node", o.Op)
	case o.Invoked.IsZero() || o.Returned.Before(o.Invoked):
		return fmt.Errorf("operation on %q returned at %v, invoked at %v", o.ID, o.Returned, o.Invoked)
	case o.Attempts < 1:
		return fmt.Errorf("operation on %q without an attempt", o.ID)
	case o.Op == OpSession && o.Result == OK && (o.Home == "" || o.Version == 0):
		return fmt.Errorf("session %q answered without home or version", o.ID)
	}
	return nil
}
