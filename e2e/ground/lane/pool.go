package lane

import "sync"

// Pool is lanes, each of which one scenario has until nothing of it is left: as many meshes as lanes are
// all that a machine has room for.
type Pool struct{ free chan int }

// NewPool returns a pool of the lanes 1 to n.
func NewPool(n int) *Pool {
	p := &Pool{make(chan int, n)}
	for lane := range n {
		p.free <- lane + 1
	}
	return p
}

// Place is what a scenario has of a pool.
type Place struct {
	lanes []int
	free  func()
}

// Take waits for a lane, or for all of them, and gives it to a scenario. Only one goroutine may take.
func (p *Pool) Take(all bool) *Place {
	l := &Place{lanes: []int{<-p.free}}
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

// End tells that nothing of the scenario is left. It may be called again.
func (l *Place) End() { l.free() }
