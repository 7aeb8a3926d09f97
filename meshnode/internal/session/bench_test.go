package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cloudflare/circl/kem/xwing"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/avx"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// beside runs two pieces of work in turn while the benchmark lasts. It reports
// how many of ours there are in a second, and of the bare ones, each n times per
// run, by the medians of all runs, and the ratio of the two.
func beside(b *testing.B, n int, what string, ours, bare func()) {
	b.Helper()
	rate := inTurn(b, n, ours, bare)
	b.ReportMetric(rate[0], what+"/s")
	b.ReportMetric(rate[1], "bare-"+what+"/s")
	b.ReportMetric(100*rate[0]/rate[1], "%-of-bare")
}

// inTurn returns how many of each there are in a second.
func inTurn(b *testing.B, n int, ours, bare func()) (rate [2]float64) {
	b.Helper()
	var took [2][]time.Duration
	work := [2]func(){ours, bare}
	for i := 0; b.Loop(); i++ {
		for j := range work {
			k := (i + j) % 2 // neither is always the second
			start := time.Now()
			work[k]()
			took[k] = append(took[k], time.Since(start))
		}
	}
	for k := range took {
		slices.Sort(took[k])
		rate[k] = float64(n) / took[k][len(took[k])/2].Seconds()
	}
	return rate
}

// BenchmarkHandshake compares both sides' whole work for a handshake with the
// same public-key operations called bare, on one core.
func BenchmarkHandshake(b *testing.B) {
	h := newHandshake(b)
	whole := func() {
		o := h.call(b)
		half, err := h.b.makeReply(o.init, 0)
		if err != nil {
			b.Fatal(err)
		}
		_, finish, err := h.a.verifyReply("b", o, message(half.reply))
		if err != nil {
			b.Fatal(err)
		}
		if err := verifyFinish(half, message(finish)); err != nil {
			b.Fatal(err)
		}
	}
	key := h.a.cfg.Identity.Credential().Key
	cert := h.a.cfg.Identity.Credential().Certificate
	root := h.a.cfg.Identity.Trust().Root
	msg := make([]byte, 64)
	bare := func() {
		sk, pk, err := xwing.GenerateKeyPair(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		packed, secret := make([]byte, xwing.PublicKeySize), make([]byte, xwing.PrivateKeySize)
		pk.Pack(packed)
		sk.Pack(secret)
		_, ct, err := xwing.Encapsulate(packed, nil)
		if err != nil {
			b.Fatal(err)
		}
		xwing.Decapsulate(ct, secret)
		avx.Release()
		for range 2 { // both sides
			signature := key.Sign(identity.ContextInitiator, msg)
			parsed, err := identity.ParsePublicKey(cert.PublicKey.Bytes())
			if err != nil || !parsed.Verify(identity.ContextInitiator, msg, signature) || cert.Verify(root, time.Now()) != nil {
				b.Fatal("verification failed")
			}
		}
	}
	beside(b, 1, "handshakes", whole, bare)
}

// BenchmarkRecords compares sealed 1 KiB records from one manager to another
// over UDP on loopback with AES-GCM and UDP called bare. The sender keeps at
// most window records in flight, so that none is lost and the figure is of what
// arrived.
func BenchmarkRecords(b *testing.B) {
	const size, window, share = 1024, 64, 4096
	payload := make([]byte, size)
	received := make(chan struct{}, window)
	left, right, stop := udpPair(b, func() { received <- struct{}{} })
	defer stop()
	sealed := func() {
		flow(b, share, window, received, func() {
			if err := left.Send(right, frame.Data, payload); err != nil {
				b.Fatal(err)
			}
		})
	}

	from, to := udpConn(b), udpConn(b)
	defer to.Close()
	defer from.Close()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	opened := make(chan struct{}, window)
	go func() {
		buf := make([]byte, transport.MaxDatagram)
		plain := make([]byte, 0, transport.MaxDatagram)
		for {
			n, _, err := to.ReadFrom(buf)
			if err != nil {
				return
			}
			if _, err := gcm.Open(plain, buf[:12], buf[12:n], nil); err == nil {
				opened <- struct{}{}
			}
		}
	}()
	buf := make([]byte, transport.MaxDatagram)
	bare := func() {
		flow(b, share, window, opened, func() {
			if err := from.WriteTo(gcm.Seal(buf[:12], buf[:12], payload, nil), to.LocalAddr()); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.SetBytes(2 * share * size) // of both
	beside(b, share, "records", sealed, bare)
}

// sizedConn is a Conn whose interface has another MTU.
type sizedConn struct {
	transport.Conn
	mtu int
}

func (c sizedConn) Largest(to netip.Addr) int { return c.mtu - transport.Overhead(to) }

// BenchmarkRecordsByMTU compares sealed 16 KiB records from one manager to another over
// UDP on loopback, in the frames that an MTU of 9,000 and one of 1,500 give.
func BenchmarkRecordsByMTU(b *testing.B) {
	const size, window, share = 16 << 10, 8, 512
	payload := make([]byte, size)
	var flows [2]func()
	for i, mtu := range []int{9000, 1500} {
		received := make(chan struct{}, window)
		left, right, stop := udpPairOver(b, func() transport.Conn { return sizedConn{udpConn(b), mtu} }, func() { received <- struct{}{} })
		defer stop()
		want := min(mtu, maxDatagram+transport.Overhead(left.cfg.Transport.LocalAddr().Addr()))
		for deadline := time.Now().Add(20 * time.Second); left.Sessions()[0].MTU != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				b.Fatalf("path MTU %d, want %d", left.Sessions()[0].MTU, want)
			}
		}
		flows[i] = func() {
			flow(b, share, window, received, func() {
				if err := left.Send(right, frame.Data, payload); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
	rate := inTurn(b, share, flows[0], flows[1])
	for i, mtu := range []string{"9000", "1500"} {
		b.ReportMetric(rate[i]*size/1e6, "MB/s-at-"+mtu)
	}
	b.ReportMetric(100*rate[0]/rate[1], "%-of-1500")
}

// flow calls send n times with at most window outstanding.
func flow(b *testing.B, n, window int, received <-chan struct{}, send func()) {
	timeout := time.After(time.Minute)
	wait := func() {
		select {
		case <-received:
		case <-timeout:
			b.Fatal("records are lost")
		}
	}
	inFlight := 0
	for range n {
		if inFlight == window {
			wait()
			inFlight--
		}
		send()
		inFlight++
	}
	for ; inFlight > 0; inFlight-- {
		wait()
	}
}
