// Package share divides the room of a queue among those who fill it.
package share

import "sync"

// Room is the room of a queue. Nobody may take more of it than is left: who fills it alone gets
// half, who comes next half of the rest, and so on; of 1,024 places ten can leave none
// (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches",
// 1998).
type Room struct {
	mu    sync.Mutex
	free  int
	taken map[string]int
}

// New returns a room with so many places.
func New(places int) *Room { return &Room{free: places, taken: map[string]int{}} }

// Take takes a place for somebody, and reports whether there was one.
func (r *Room) Take(who string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken[who] >= r.free {
		return false
	}
	r.free--
	r.taken[who]++
	return true
}

// Give gives a place of somebody's back.
func (r *Room) Give(who string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free++
	if r.taken[who]--; r.taken[who] == 0 {
		delete(r.taken, who)
	}
}
