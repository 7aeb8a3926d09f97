package lane

import (
	"cmp"
	"time"
)

// Need is what a scenario asks of lanes.
type Need struct {
	Alone bool          // all of them
	Takes time.Duration // for about how long
}

// Compare is the order in which needs are met: first what must be alone, while all lanes are free, and then
// what takes longest.
func (n Need) Compare(o Need) int {
	switch {
	case n.Alone == o.Alone:
		return cmp.Compare(o.Takes, n.Takes)
	case n.Alone:
		return -1
	}
	return 1
}
