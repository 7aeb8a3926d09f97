// Package crash contains panics: where a node works on what another one sent, a
// mistake in the code costs that message and not the process.
package crash

import (
	"fmt"
	"runtime/debug"
)

// Error is a panic that was contained.
type Error struct {
	Value any
	Stack []byte
}

func (e *Error) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Contain runs f and returns its error, or an *Error if it panics. f must hold no lock
// that it does not release by defer.
func Contain(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Error{v, debug.Stack()}
		}
	}()
	return f()
}
