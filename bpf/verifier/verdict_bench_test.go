package verifier

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// The benchmarks measure inside the kernel, by the time that BPF_PROG_TEST_RUN
// reports. "ns/op" is the whole run; "added-ns" is what the verifier adds to a
// program that returns the same verdict at once, run right before it.
const benchRepeat = feederLength

// trivial is a program that returns action.
func trivial(b *testing.B, action int32) *ebpf.Program {
	b.Helper()
	return program(b, asm.Instructions{asm.Mov.Imm(asm.R0, action), asm.Return()})
}

// compare alternates runs of baseline and subject, so that what else the machine
// does hits both, and reports the means.
func compare(b *testing.B, baseline, subject func() time.Duration) {
	b.Helper()
	var base, total time.Duration
	for b.Loop() {
		base += baseline()
		total += subject()
	}
	n := float64(b.N)
	b.ReportMetric(float64(total)/n, "ns/op")
	b.ReportMetric(float64(total-base)/n, "added-ns")
}

// timed runs prog on raw and returns the time of one run.
func timed(b *testing.B, prog *ebpf.Program, raw []byte) time.Duration {
	b.Helper()
	_, each, err := prog.Benchmark(raw, benchRepeat, nil)
	if err != nil {
		b.Fatal(err)
	}
	return each
}

func BenchmarkReject(b *testing.B) {
	for name, payload := range map[string][]byte{
		"unknown_session": lab.Sealed(frame.Data, frame.SessionID{9}, testKey, 1, 100),
		"bad_tag":         lab.Sealed(frame.Data, testID, frame.Key{}, 1, 100),
		"replay":          lab.Sealed(frame.Data, testID, testKey, 1, 100),
		"malformed":       make([]byte, 140),
	} {
		b.Run(name, func(b *testing.B) {
			v := loaded(b, Config{})
			r := newRunner(b, v, "xdp")
			r.put(b, testID, testKey)
			raw, drop := lab.Packet{Payload: payload}.Bytes(), trivial(b, 1)
			compare(b,
				func() time.Duration { return timed(b, drop, raw) },
				func() time.Duration { return timed(b, r.prog, raw) })
		})
	}
}

func BenchmarkPass(b *testing.B) {
	pass := func(b *testing.B) *ebpf.Program { return trivial(b, 2) }
	b.Run("not_mesh", func(b *testing.B) {
		r := newRunner(b, loaded(b, Config{}), "xdp")
		raw, pass := lab.Packet{Payload: make([]byte, 100), Port: 53}.Bytes(), pass(b)
		compare(b,
			func() time.Duration { return timed(b, pass, raw) },
			func() time.Duration { return timed(b, r.prog, raw) })
	})
	b.Run("data", func(b *testing.B) {
		v := loaded(b, Config{})
		r := newRunner(b, v, "xdp")
		r.put(b, testID, testKey)
		raw := lab.Packet{Payload: lab.Sealed(frame.Data, testID, testKey, 1, 1000)}.Bytes()
		feed := newFeeder(b, raw, inOrder)
		pass := pass(b)
		before := r.counts(b)
		compare(b,
			func() time.Duration {
				feed.point(b, pass)
				return timed(b, feed.prog, raw)
			},
			func() time.Duration {
				if err := v.obj.Windows.Put(v.sessions.live[testID].slot, bpfReplayWindow{}); err != nil {
					b.Fatal(err)
				}
				feed.point(b, r.prog)
				return timed(b, feed.prog, raw)
			})
		if got := r.counts(b)["replay"] - before["replay"]; got != 0 {
			b.Fatalf("%d frames of %d were replays", got, b.N*benchRepeat)
		}
	})
}
