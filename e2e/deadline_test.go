package e2e

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

// reserve is how long before the test binary's own deadline the suite stops, so that it
// can still clean up: Go's deadline kills without.
const reserve = 30 * time.Second

// stopInTime interrupts the suite before its own time limit and Go's, so that
// it can clean up: Go's kills without, and after Ginkgo's the cleanup of an
// ordered container that was under way does not run, while after an interrupt
// it does.
func stopInTime(t *testing.T, c *types.SuiteConfig) *time.Timer {
	signalled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	suite.signalled = signalled
	left := c.Timeout
	if deadline, ok := t.Deadline(); ok {
		left = min(left, time.Until(deadline)-reserve)
	}
	c.Timeout = 0
	return time.AfterFunc(left, func() { interrupt("the time is nearly up (-test.timeout)") })
}

// interrupt ends what is judged, and has it cleaned up. After another signal nothing is to
// do: a second one would keep Ginkgo from cleaning up.
func interrupt(why string) {
	if suite.signalled.Err() != nil {
		return
	}
	fmt.Fprintf(os.Stderr, "e2e: %s: stopping now, to clean up\n", why)
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: cannot interrupt the suite:", err)
	}
}
