package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"testing"
	"time"

	"github.com/cloudflare/circl/kem/xwing"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/avx"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// BenchmarkHandshake compares both sides' whole work for a handshake with the
// same public-key operations called bare.
func BenchmarkHandshake(b *testing.B) {
	h := newHandshake(b)
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
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
	})
	b.Run("bare", func(b *testing.B) {
		key := h.a.cfg.Identity.Credential().Key
		cert := h.a.cfg.Identity.Credential().Certificate
		root := h.a.cfg.Identity.Trust().Root
		msg := make([]byte, 64)
		for b.Loop() {
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
	})
}

// BenchmarkRecords compares sealed 1 KiB records from one manager to another
// over UDP on loopback with AES-GCM and UDP called bare. The sender keeps at
// most window records in flight, so that none is lost and the figure is of what
// arrived.
func BenchmarkRecords(b *testing.B) {
	const size, window = 1024, 64
	b.Run("session", func(b *testing.B) {
		received := make(chan struct{}, window)
		left, right, stop := udpPair(b, func() { received <- struct{}{} })
		defer stop()
		payload := make([]byte, size)
		b.SetBytes(size)
		flow(b, window, received, func() {
			if err := left.Send(right, frame.Data, payload); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("bare", func(b *testing.B) {
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
		received := make(chan struct{}, window)
		go func() {
			buf := make([]byte, transport.MaxDatagram)
			plain := make([]byte, 0, transport.MaxDatagram)
			for {
				n, _, err := to.ReadFrom(buf)
				if err != nil {
					return
				}
				if _, err := gcm.Open(plain, buf[:12], buf[12:n], nil); err == nil {
					received <- struct{}{}
				}
			}
		}()
		payload, buf := make([]byte, size), make([]byte, transport.MaxDatagram)
		b.SetBytes(size)
		flow(b, window, received, func() {
			if err := from.WriteTo(gcm.Seal(buf[:12], buf[:12], payload, nil), to.LocalAddr()); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// flow calls send b.N times with at most window outstanding.
func flow(b *testing.B, window int, received <-chan struct{}, send func()) {
	timeout := time.After(time.Minute)
	wait := func() {
		select {
		case <-received:
		case <-timeout:
			b.Fatal("records are lost")
		}
	}
	inFlight := 0
	for b.Loop() {
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
