package attest

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// submits returns a handler of fragments that submits n jobs.
func submits(t *testing.T, p *Pool, n int, job func()) func(Fragment) {
	return func(Fragment) {
		for range n {
			if err := p.Submit(Critical, job); err != nil {
				t.Error(err)
			}
		}
	}
}

// In a pool without workers only the caller of Attend can have run the job.
func TestAttendRunsTheJob(t *testing.T) {
	p := NewPool(1)
	for i := range 3 {
		ran := 0
		p.Attend(Fragment{}, submits(t, p, 1, func() { ran++ }))
		if critical, low := p.Waiting(); ran != 1 || critical != 0 || low != 0 {
			t.Fatalf("turn %d: ran %d times, %d and %d wait, want 1, 0, 0", i, ran, critical, low)
		}
	}
	p.Attend(Fragment{}, func(Fragment) {}) // no job
}

// A caller with more to read leaves the job to the workers, and so does one that
// finds the pool at work.
func TestAttendLeavesTheJob(t *testing.T) {
	ran := 0
	p := NewPool(1)
	p.Attend(Fragment{More: true}, submits(t, p, 1, func() { ran++ }))
	p.Attend(Fragment{}, submits(t, p, 1, func() { ran++ })) // behind the first
	if critical, _ := p.Waiting(); ran != 0 || critical != 2 {
		t.Errorf("with more to read: ran %d times, %d wait, want 0 and 2", ran, critical)
	}
	bubble.Test(t, func(t *testing.T) {
		p, release := blocked(t, 1)
		p.Attend(Fragment{}, submits(t, p, 1, func() { ran++ }))
		if ran != 0 {
			t.Error("the caller ran a job of a pool at work")
		}
		release()
		synctest.Wait()
		if ran != 1 {
			t.Errorf("the worker ran the job %d times, want once", ran)
		}
	})
}

// What the caller does not run itself, others' jobs included, wakes workers.
func TestAttendWakesWorkers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := NewPool(2)
		ctx, cancel := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		workers.Go(func() { p.Run(ctx) })
		defer workers.Wait()
		defer cancel()
		synctest.Wait()
		var together sync.WaitGroup
		together.Add(3)
		meet := func() { together.Done(); together.Wait() }
		p.Attend(Fragment{}, func(f Fragment) {
			done := make(chan struct{})
			go func() { submits(t, p, 1, meet)(f); close(done) }()
			<-done
			submits(t, p, 2, meet)(f)
		})
		together.Wait() // a deadlock of the bubble if fewer than three run at once
	})
}
