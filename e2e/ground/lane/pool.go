package lane

import (
	"sync"
	"sync/atomic"
)

// Pool is lanes, each of which one scenario has at a time.
type Pool struct {
	free  chan int
	heavy atomic.Int32 // how many heavy scenarios go, or wait for a lane
}

// NewPool returns a pool of the lanes 1 to n.
func NewPool(n int) *Pool {
	p := &Pool{free: make(chan int, n)}
	for lane := range n {
		p.free <- lane + 1
	}
	return p
}

// Place is what a scenario has of a pool.
type Place struct {
	pool  *Pool
	lanes []int
	ease  func() // from then on it is not heavy
	free  func()
}

// Take waits for a lane, or for all of them, and gives it to a scenario. Only one goroutine may take.
func (p *Pool) Take(all, heavy bool) *Place {
	l := &Place{pool: p, ease: func() {}}
	if heavy { // before it waits: who leaves a lane to it must be gone first
		p.heavy.Add(1)
		l.ease = sync.OnceFunc(func() { p.heavy.Add(-1) })
	}
	l.lanes = append(l.lanes, <-p.free)
	for all && len(l.lanes) < cap(p.free) {
		l.lanes = append(l.lanes, <-p.free)
	}
	l.free = sync.OnceFunc(func() {
		for _, lane := range l.lanes {
			p.free <- lane
		}
	})
	return l
}

// Lane is the number of its lane, or of one of them.
func (l *Place) Lane() int { return l.lanes[0] }

// Leave tells that the scenario only waits until its mesh is gone. Then its lane is free, after a
// call of tell, unless a heavy one goes in another lane, or waits for one: beside that there is no room for two
// meshes.
func (l *Place) Leave(tell func()) {
	l.ease()
	if l.pool.heavy.Load() == 0 {
		tell()
		l.free()
	}
}

// End tells that nothing of the scenario is left. It may be called again.
func (l *Place) End() {
	l.ease()
	l.free()
}
