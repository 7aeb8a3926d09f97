package attest

import (
	"context"
	"crypto/rand"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
)

// signed is a signature and what is needed to verify it.
type signed struct {
	public             *mldsa65.PublicKey
	message, signature []byte
}

func newSigned(b *testing.B) signed {
	b.Helper()
	public, private, err := mldsa65.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	s := signed{public, []byte("session, challenge and epoch"), make([]byte, mldsa65.SignatureSize)}
	if err := mldsa65.SignTo(private, s.message, nil, true, s.signature); err != nil {
		b.Fatal(err)
	}
	return s
}

func (s signed) verify(b *testing.B) {
	if !mldsa65.Verify(s.public, s.message, nil, s.signature) {
		b.Error("a good signature did not verify")
	}
}

// running returns a pool with a worker per core.
func running(b *testing.B) *Pool {
	p := NewPool(0)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	b.Cleanup(func() { cancel(); <-done })
	return p
}

// BenchmarkPoolThroughput verifies on all cores, in turns without anything around
// it and through the pool, and reports both rates and the pool's share.
func BenchmarkPoolThroughput(b *testing.B) {
	const batch = 4096 // signatures per turn, more than a tenth of a second of one core
	s, p := newSigned(b), running(b)
	bare := func() {
		var next atomic.Int64
		var workers sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			workers.Go(func() {
				for next.Add(1) <= batch {
					s.verify(b)
				}
			})
		}
		workers.Wait()
	}
	pooled := func() {
		var jobs sync.WaitGroup
		jobs.Add(batch)
		for range batch {
			if err := p.Submit(Critical, func() { s.verify(b); jobs.Done() }); err != nil {
				b.Fatal(err)
			}
		}
		jobs.Wait()
	}
	times := [2]time.Duration{}
	ways := [2]func(){bare, pooled}
	for turn := 0; b.Loop(); turn++ {
		for i := range ways { // a different one begins each time
			way := (turn + i) % len(ways)
			start := time.Now()
			ways[way]()
			times[way] += time.Since(start)
		}
	}
	verified := float64(b.N * batch)
	b.ReportMetric(verified/times[0].Seconds(), "bare/s")
	b.ReportMetric(verified/times[1].Seconds(), "pool/s")
	b.ReportMetric(float64(times[0])/float64(times[1]), "ratio")
}
