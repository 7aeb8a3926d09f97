package verifier

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// BenchmarkFloodReports sends a million forged packets with a real event in
// their midst, and reports how many reports came of it.
func BenchmarkFloodReports(b *testing.B) {
	const forged = 1_000_000
	for b.Loop() {
		v := loaded(b, Config{})
		r := newRunner(b, v, "xdp")
		r.put(b, testID, testKey)
		replay := lab.Packet{Payload: lab.Sealed(frame.Heartbeat, testID, testKey, 1, 0)}.Bytes()
		r.send(b, replay)
		var reports, real int
		ctx, cancel := context.WithCancel(b.Context())
		var reader sync.WaitGroup
		reader.Go(func() {
			for {
				report, err := v.ReadReport(ctx)
				if err != nil {
					return
				}
				reports++
				if report.Verdict == "replay" {
					real++
				}
			}
		})
		flood := lab.Packet{Payload: lab.Sealed(frame.Data, testID, frame.Key{}, 1, 0)}.Bytes()
		for range 2 {
			if _, err := r.prog.Run(&ebpf.RunOptions{Data: flood, Repeat: forged / 2}); err != nil {
				b.Fatal(err)
			}
			r.send(b, replay)
		}
		for deadline := time.Now().Add(5 * time.Second); v.reports.ring.AvailableBytes() > 0; runtime.Gosched() {
			if time.Now().After(deadline) {
				b.Fatal("reports were not read")
			}
		}
		cancel()
		reader.Wait()
		if real != 2 {
			b.Fatalf("%d of 2 real events reported", real)
		}
		lost, err := v.Lost()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(reports), "reports")
		b.ReportMetric(float64(lost), "lost")
	}
}
