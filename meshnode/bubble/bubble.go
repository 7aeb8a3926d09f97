// Package bubble runs tests in virtual time, and has clocks of machines that go wrong in it.
package bubble

import (
	"testing"
	"testing/synctest"
)

// Test is [synctest.Test], and works under the race detector of every Go.
//
// Before Go 1.27 all timers of a bubble share one state of the race detector. A goroutine that
// receives from a timer's channel may run that timer while the bubble runs others, and then two
// threads write to this state. The counts in it go wrong, and some time later the test's process
// ends with SIGSEGV. So there, Test lets one goroutine run at a time for as long as a bubble is there.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	defer alone()()
	synctest.Test(t, f)
}
