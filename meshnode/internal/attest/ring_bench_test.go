package attest

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/verifier"
)

var (
	benchID  = frame.SessionID{1}
	benchKey = frame.Key{2}
)

// loopback opens a verifier on the loopback interface of a network namespace of
// its own, with a session, and a socket that sends to it.
func loopback(b *testing.B) (*verifier.Verifier, *net.UDPConn) {
	b.Helper()
	var v *verifier.Verifier
	var conn *net.UDPConn
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and end the thread with its namespace
		done <- func() error {
			ns, err := netns.New()
			if err != nil {
				return err
			}
			defer ns.Close()
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(lo); err != nil {
				return err
			}
			if v, err = verifier.Open(verifier.Config{Interface: "lo", Sessions: 16}); err != nil {
				return err
			}
			conn, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: frame.Port})
			return err
		}()
	}()
	err := <-done
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
		b.Skipf("needs root for a network namespace and eBPF: %v", err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(conn.Close(), v.Close()); err != nil {
			b.Error(err)
		}
	})
	hour := verifier.Now() + time.Hour
	if err := v.Put(benchID, verifier.Session{RxHeaderKey: benchKey, Expires: hour}); err != nil {
		b.Fatal(err)
	}
	return v, conn
}

// datagrams are what carries the signature.
func (s signed) datagrams() (datagrams [][]byte) {
	for chunk := range slices.Chunk(s.signature, frame.MaxPayload) {
		datagrams = append(datagrams, append(make([]byte, frame.HeaderLen), chunk...))
	}
	return datagrams
}

// send sends datagrams as the fragments of one message from sequence on.
func send(b *testing.B, conn *net.UDPConn, datagrams [][]byte, sequence uint64) {
	for i, d := range datagrams {
		h := frame.Header{
			Type: frame.AttestationSignature, Length: uint16(len(d) - frame.HeaderLen), Session: benchID,
			Fragment: uint8(i), Fragments: uint8(len(datagrams)), Sequence: sequence + uint64(i),
		}
		h.Put(d, benchKey)
		if _, err := conn.Write(d); err != nil {
			b.Fatal(err)
		}
	}
}

func percentile(times []time.Duration, p float64) float64 {
	slices.Sort(times)
	return float64(times[min(int(float64(len(times))*p), len(times)-1)])
}

// BenchmarkRingToVerdict is the time from the kernel's sight of a signature's
// last fragment to the verdict of an idle pool, and the part of it until the
// reader holds the fragment, beside a bare Verify of the same signature.
func BenchmarkRingToVerdict(b *testing.B) {
	v, conn := loopback(b)
	s, p := newSigned(b), running(b)
	type times struct{ read, verdict time.Duration }
	done := make(chan times, 1)
	ctx, cancel := context.WithCancel(b.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		signature := make([]byte, 0, mldsa65.SignatureSize)
		handle := func(f Fragment) {
			signature = append(signature, f.Payload...)
			if f.Fragment+1 < f.Fragments {
				return
			}
			t := times{read: verifier.Now() - f.Time}
			if err := p.Submit(Critical, func() {
				if !mldsa65.Verify(s.public, s.message, nil, signature) {
					b.Error("a good signature did not verify")
				}
				signature = signature[:0] // the next one comes after this verdict
				t.verdict = verifier.Now() - f.Time
				done <- t
			}); err != nil {
				b.Error(err)
			}
		}
		for {
			f, err := v.ReadSignature(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				panic(err) // nobody would ever see a verdict
			}
			p.Attend(Fragment{Fragment: f.Fragment, Fragments: f.Fragments, Time: f.Time, More: f.More, Payload: f.Payload}, handle)
		}
	})
	var read []time.Duration
	datagrams, sequence := s.datagrams(), uint64(1)
	s.besideBare(b, func() time.Duration {
		send(b, conn, datagrams, sequence)
		sequence += uint64(len(datagrams))
		t := <-done
		read = append(read, t.read)
		return t.verdict
	})
	cancel()
	reader.Wait()
	b.ReportMetric(percentile(read, .50), "read-p50-ns")
	b.ReportMetric(percentile(read, .99), "read-p99-ns")
}

// BenchmarkWokenVerify is a Verify by a thread that a write to a pipe wakes for
// it, from the write to the verdict, beside a bare one: what the machine needs for
// that, no reader that sleeps can save.
func BenchmarkWokenVerify(b *testing.B) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		b.Fatal(err)
	}
	s := newSigned(b)
	done := make(chan time.Duration, 1) // when there was a verdict
	var thread sync.WaitGroup
	thread.Go(func() {
		buffer := make([]byte, 1)
		for {
			switch n, err := unix.Read(pipe[0], buffer); {
			case err == unix.EINTR:
			case n == 0: // closed
				return
			default:
				s.verify(b)
				done <- verifier.Now()
			}
		}
	})
	s.besideBare(b, func() time.Duration {
		start := verifier.Now()
		if _, err := unix.Write(pipe[1], []byte{1}); err != nil {
			b.Fatal(err)
		}
		return <-done - start
	})
	closing := unix.Close(pipe[1])
	thread.Wait()
	if err := errors.Join(closing, unix.Close(pipe[0])); err != nil {
		b.Error(err)
	}
}

// besideBare takes turns between a way to verify s, which tells its time, and a
// bare Verify.
func (s signed) besideBare(b *testing.B, way func() time.Duration) {
	var times, bare []time.Duration
	for b.Loop() {
		times = append(times, way())
		start := verifier.Now()
		s.verify(b)
		bare = append(bare, verifier.Now()-start)
	}
	b.ReportMetric(percentile(times, .50), "p50-ns")
	b.ReportMetric(percentile(times, .99), "p99-ns")
	b.ReportMetric(percentile(bare, .50), "bare-p50-ns")
	b.ReportMetric(percentile(bare, .99), "bare-p99-ns")
	b.ReportMetric(percentile(times, .99)/percentile(bare, .99), "p99-ratio")
}
