package attest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// blocked returns a running pool of n workers that are all busy until release.
func blocked(t *testing.T, n int) (p *Pool, release func()) {
	t.Helper()
	p = NewPool(n)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	gate := make(chan struct{})
	for range n {
		if err := p.Submit(Critical, func() { <-gate }); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	t.Cleanup(func() { cancel(); <-done })
	return p, func() { close(gate) }
}

func TestCriticalBeforeLow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p, release := blocked(t, 1)
		var order []string
		for _, j := range []struct {
			p    Priority
			name string
		}{{Low, "low 1"}, {Critical, "critical 1"}, {Low, "low 2"}, {Critical, "critical 2"}} {
			if err := p.Submit(j.p, func() { order = append(order, j.name) }); err != nil {
				t.Fatal(err)
			}
		}
		if c, l := p.Waiting(); c != 2 || l != 2 {
			t.Errorf("%d critical and %d low wait, want 2 each", c, l)
		}
		release()
		synctest.Wait()
		if want := []string{"critical 1", "critical 2", "low 1", "low 2"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestOnlyLowIsShed(t *testing.T) {
	for _, shedding := range []bool{false, true} {
		bubble.Test(t, func(t *testing.T) {
			p, release := blocked(t, 2)
			p.SetShedding(shedding)
			limit := QueueLow
			if shedding {
				limit = QueueShedding * 2
			}
			var ran atomic.Int64
			shed := 0
			for range QueueLow + 100 {
				if err := p.Submit(Low, func() { ran.Add(1) }); errors.Is(err, ErrShed) {
					shed++
				}
				if err := p.Submit(Critical, func() { ran.Add(1) }); err != nil {
					t.Fatalf("critical work was refused: %v", err)
				}
			}
			if want := QueueLow + 100 - limit; shed != want {
				t.Errorf("shedding %v: %d shed, want %d", shedding, shed, want)
			}
			release()
			synctest.Wait()
			if want := int64(QueueLow + 100 + limit); ran.Load() != want {
				t.Errorf("%d jobs ran, want %d", ran.Load(), want)
			}
		})
	}
}

func TestAllWorkersWork(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := NewPool(4)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.Run(ctx); close(done) }()
		var together sync.WaitGroup
		together.Add(4)
		for range 4 {
			if err := p.Submit(Low, func() { together.Done(); together.Wait() }); err != nil {
				t.Fatal(err)
			}
		}
		together.Wait() // a deadlock of the bubble if fewer than four run at once
		cancel()
		<-done
	})
}

func TestManySubmitters(t *testing.T) {
	p := NewPool(0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	var jobs sync.WaitGroup
	for range 8 {
		jobs.Add(1000)
		go func() {
			for range 1000 {
				if err := p.Submit(Critical, jobs.Done); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	jobs.Wait() // every job ran
	cancel()
	<-done
}
