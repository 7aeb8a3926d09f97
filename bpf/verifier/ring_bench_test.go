package verifier

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
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

// frames are the packets that carry the signature.
func (s signed) frames() (packets [][]byte) {
	chunks := slices.Collect(slices.Chunk(s.signature, frame.MaxPayload))
	for i, chunk := range chunks {
		h := frame.Header{
			Type: frame.AttestationSignature, Length: uint16(len(chunk)), Session: testID,
			Fragment: uint8(i), Fragments: uint8(len(chunks)), Sequence: 1 + uint64(i),
		}
		b := append(lab.Frame(h, testKey)[:frame.HeaderLen], chunk...)
		packets = append(packets, lab.Packet{Payload: b}.Bytes())
	}
	return packets
}

// renumber gives a frame another sequence number.
func renumber(b []byte, sequence uint64) {
	binary.BigEndian.PutUint64(b[24:], sequence)
	binary.BigEndian.PutUint64(b[frame.TagOffset:], frame.Tag(b, testKey))
}

func percentile(times []time.Duration, p float64) float64 {
	slices.Sort(times)
	return float64(times[min(int(float64(len(times))*p), len(times)-1)])
}

// BenchmarkRingToVerdict is the time from the kernel's sight of a signature's
// last fragment to the verdict, beside a bare Verify of the same signature.
func BenchmarkRingToVerdict(b *testing.B) {
	v := loaded(b, Config{})
	r := newRunner(v, "xdp")
	r.put(b, testID, testKey)
	s := newSigned(b)
	var ring, bare []time.Duration
	sequence := uint64(1)
	done := make(chan time.Duration)
	ctx, cancel := context.WithCancel(b.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		var signature []byte
		for {
			f, err := v.ReadSignature(ctx)
			if err != nil {
				return
			}
			signature = append(signature, f.Payload...)
			if f.Fragment+1 < f.Fragments {
				continue
			}
			if !mldsa65.Verify(s.public, s.message, nil, signature) {
				b.Error("a good signature did not verify")
			}
			done <- Now() - f.Time
			signature = signature[:0]
		}
	})
	packets := s.frames()
	for b.Loop() {
		for _, packet := range packets {
			renumber(packet[14+20+8:], sequence)
			r.send(b, packet)
			sequence++
		}
		ring = append(ring, <-done)
		start := Now()
		if !mldsa65.Verify(s.public, s.message, nil, s.signature) {
			b.Fatal("a good signature did not verify")
		}
		bare = append(bare, Now()-start)
	}
	cancel()
	reader.Wait()
	b.ReportMetric(percentile(ring, .50), "p50-ns")
	b.ReportMetric(percentile(ring, .99), "p99-ns")
	b.ReportMetric(percentile(bare, .50), "bare-p50-ns")
	b.ReportMetric(percentile(bare, .99), "bare-p99-ns")
	b.ReportMetric(percentile(ring, .99)/percentile(bare, .99), "p99-ratio")
}

// BenchmarkFloodReports sends a million forged packets with a real event in
// their midst, and reports how many reports came of it.
func BenchmarkFloodReports(b *testing.B) {
	const forged = 1_000_000
	for b.Loop() {
		v := loaded(b, Config{})
		r := newRunner(v, "xdp")
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
