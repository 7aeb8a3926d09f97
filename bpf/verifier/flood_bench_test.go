package verifier

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"
)

// BenchmarkUnderFlood is valid traffic between two hosts, in turns alone, while as
// many forged frames as one sender can make flood an equal pair of hosts beside
// them, and while they flood these. The attacker's own work takes a CPU, which
// in truth is none of the node's: "beside" has that and "flood" too, so the
// ratios of these two are what a flood costs the node's sessions. It runs over a
// cable with one queue, as pods have, in every mode, and over one with a queue
// per CPU.
func BenchmarkUnderFlood(b *testing.B) {
	for _, queues := range []int{1, runtime.NumCPU()} {
		for _, mode := range modes {
			b.Run(fmt.Sprintf("queues=%d/%s", queues, mode), func(b *testing.B) { underFlood(b, mode, queues) })
		}
	}
}

func underFlood(b *testing.B, mode string, queues int) {
	const pings, windows, window = 2000, 200, 32
	p, beside := newPair(b, mode, queues), newPair(b, mode, queues)
	var (
		times  [3][]time.Duration // of one frame from the peer's send to the node's hands
		frames [3]time.Duration   // what all windows took
		forged uint64
		flood  time.Duration
		lost   int
	)
	defer pin(b, 0)() // away from the flood
	for b.Loop() {
		for turn, target := range []*pair{nil, beside, p} {
			stop := func() uint64 { return 0 }
			if target != nil {
				stop = target.flood(b, math.MaxUint64)
			}
			begun := time.Now()
			for range pings {
				start := time.Now()
				lost += 1 - p.exchange(b, 1)
				times[turn] = append(times[turn], time.Since(start))
			}
			start := time.Now()
			for range windows {
				lost += window - p.exchange(b, window)
			}
			frames[turn] += time.Since(start)
			if sent := stop(); target == p {
				forged += sent
				flood += time.Since(begun)
			}
		}
	}
	ratio := func(percent float64) float64 { return percentile(times[2], percent) / percentile(times[1], percent) }
	rate := func(turn int) float64 { return float64(b.N*windows*window) / frames[turn].Seconds() }
	b.ReportMetric(rate(0), "quiet-frames/s")
	b.ReportMetric(rate(1), "beside-frames/s")
	b.ReportMetric(rate(2), "flood-frames/s")
	b.ReportMetric(rate(2)/rate(1), "throughput-ratio")
	b.ReportMetric(percentile(times[0], .5), "quiet-p50-ns")
	b.ReportMetric(percentile(times[1], .5), "beside-p50-ns")
	b.ReportMetric(percentile(times[2], .5), "flood-p50-ns")
	b.ReportMetric(ratio(.5), "p50-ratio")
	b.ReportMetric(ratio(.99), "p99-ratio")
	b.ReportMetric(float64(forged)/flood.Seconds(), "forged/s")
	b.ReportMetric(float64(lost), "lost")
}

func percentile(times []time.Duration, p float64) float64 {
	slices.Sort(times)
	return float64(times[min(int(float64(len(times))*p), len(times)-1)])
}
