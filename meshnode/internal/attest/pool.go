// Package attest is the verification pool of a mesh node: it runs the
// expensive public-key operations of handshakes and attestations on all cores,
// critical work first, and sheds only work of low priority.
package attest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// Priority orders the pool's work.
type Priority uint8

const (
	// Critical work is a handshake, or an attestation without which a session
	// would soon stop carrying data. It is never shed; whoever submits it
	// bounds how much of it can be outstanding.
	Critical Priority = iota
	// Low is an attestation on top of those that keep a session verified.
	Low
)

func (p Priority) String() string {
	if p == Critical {
		return "critical"
	}
	return "low"
}

// ErrShed is the error of work of low priority that the pool did not accept.
var ErrShed = errors.New("verification shed: the pool is busy")

// The numbers of low-priority jobs that may wait.
const (
	// QueueLow bounds the queue in normal operation: memory, not latency.
	QueueLow = 4096
	// QueueShedding bounds the queue per worker while shedding is on: what
	// waits behind more than this would be verified too late to matter.
	QueueShedding = 4
)

// Pool runs jobs on a fixed number of workers. The zero value is not usable.
type Pool struct {
	workers int

	mu       sync.Mutex
	queues   [Low + 1][]work
	busy     int  // jobs in hand
	attended bool // Attend tells the workers what they are needed for
	shedding bool
	wake     chan struct{} // holds a token per job, up to its capacity
}

// work is a job and since when it waits.
type work struct {
	job   func()
	since time.Time
}

// NewPool returns a pool of the given number of workers; 0 means one per core.
// Nothing runs before Run is called.
func NewPool(workers int) *Pool {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return &Pool{workers: workers, wake: make(chan struct{}, workers)}
}

// Submit queues job. It does not block. The error is ErrShed for work of low
// priority that found the queue full; critical work is always accepted.
func (p *Pool) Submit(priority Priority, job func()) error {
	p.mu.Lock()
	limit := QueueLow
	if p.shedding {
		limit = QueueShedding * p.workers
	}
	if priority != Critical && len(p.queues[Low]) >= limit {
		p.mu.Unlock()
		return ErrShed
	}
	p.queues[priority] = append(p.queues[priority], work{job, time.Now()})
	attended := p.attended
	p.mu.Unlock()
	if !attended {
		p.tell()
	}
	return nil
}

// tell wakes a worker.
func (p *Pool) tell() {
	select {
	case p.wake <- struct{}{}:
	default: // every worker has been told already
	}
}

// Attend calls handle, which may submit jobs. If the pool was idle and no fragment
// waits behind f, one of them then runs right here: the caller is awake, and to
// wake a worker can take as long as the job. One caller at a time.
func (p *Pool) Attend(f Fragment, handle func(Fragment)) {
	p.mu.Lock()
	idle := !f.More && p.busy+len(p.queues[Critical])+len(p.queues[Low]) == 0
	p.attended = idle
	p.mu.Unlock()
	handle(f)
	if !idle {
		return
	}
	p.mu.Lock()
	p.attended = false
	p.mu.Unlock()
	job := p.next()
	critical, low := p.Waiting()
	for range min(critical+low, p.workers) {
		p.tell()
	}
	if job != nil {
		p.run(job)
	}
}

// SetShedding turns early shedding of low-priority work on or off.
func (p *Pool) SetShedding(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shedding = on
}

// Waiting returns how many jobs of each priority wait for a worker.
func (p *Pool) Waiting() (critical, low int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queues[Critical]), len(p.queues[Low])
}

// Delay returns for how long the oldest job has been waiting for a worker.
func (p *Pool) Delay() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var d time.Duration
	for _, q := range p.queues {
		if len(q) > 0 {
			d = max(d, time.Since(q[0].since))
		}
	}
	return d
}

// Run starts the workers and returns when ctx has ended and they are done with
// the jobs in hand; jobs that still wait are dropped.
func (p *Pool) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range p.workers {
		wg.Go(func() { p.work(ctx) })
	}
	wg.Wait()
}

func (p *Pool) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		for ctx.Err() == nil {
			job := p.next()
			if job == nil {
				break
			}
			p.run(job)
		}
	}
}

// run runs a job that next took.
func (p *Pool) run(job func()) {
	job()
	p.mu.Lock()
	p.busy--
	p.mu.Unlock()
}

// next takes the oldest job of the highest priority in hand, nil if there is none.
func (p *Pool) next() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.queues {
		if q := p.queues[i]; len(q) > 0 {
			job := q[0].job
			q[0] = work{}
			p.queues[i] = q[1:]
			p.busy++
			return job
		}
	}
	return nil
}
