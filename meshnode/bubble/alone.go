//go:build race && !go1.27

package bubble

import (
	"runtime"
	"sync"
)

// bubbles counts those that there are, as tests may run side by side.
var bubbles struct {
	sync.Mutex
	n      int
	before int // how many goroutines could run at a time before the first
}

// alone lets one goroutine run at a time until the function that it returns is called.
func alone() (end func()) {
	bubbles.Lock()
	defer bubbles.Unlock()
	if bubbles.n == 0 {
		bubbles.before = runtime.GOMAXPROCS(1)
	}
	bubbles.n++
	return func() {
		bubbles.Lock()
		defer bubbles.Unlock()
		bubbles.n--
		if bubbles.n == 0 {
			runtime.GOMAXPROCS(bubbles.before)
		}
	}
}
