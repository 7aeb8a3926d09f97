package identity

import (
	"bytes"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"github.com/x0tta6bl4/mesh/meshnode/internal/avx"
)

// TestSignaturesAreHedged: no two signatures over one message are the same, and each
// verifies. A deterministic signer gives its key away to whoever can disturb it once
// (FIPS 204, section 3.4).
func TestSignaturesAreHedged(t *testing.T) {
	key, msg := GenerateKey(), []byte("one message")
	for _, ctx := range []Context{ContextCertificate, ContextEnrolment, ContextInitiator, ContextResponder, ContextAttestation, ContextRoute, ContextRecord} {
		one, two := key.Sign(ctx, msg), key.Sign(ctx, msg)
		if bytes.Equal(one, two) {
			t.Errorf("%s: the signature is deterministic", ctx)
		}
		if !key.Public().Verify(ctx, msg, one) || !key.Public().Verify(ctx, msg, two) {
			t.Errorf("%s: a signature does not verify", ctx)
		}
	}
}

// BenchmarkSign tells what hedging costs: a signature beside a deterministic one of the
// same key, in turn. Both are rejection sampling: how long one takes varies with its
// randomness, and with the message.
func BenchmarkSign(b *testing.B) {
	key, sig := GenerateKey(), make([]byte, SignatureSize)
	var hedged, bare time.Duration
	for i := 0; b.Loop(); i++ {
		msg := []byte{byte(i), byte(i >> 8), byte(i >> 16)}
		start := time.Now()
		key.Sign(ContextAttestation, msg)
		between := time.Now()
		if err := mldsa65.SignTo(key.key, msg, []byte(ContextAttestation), false, sig); err != nil {
			b.Fatal(err)
		}
		avx.Release()
		hedged, bare = hedged+between.Sub(start), bare+time.Since(between)
	}
	b.ReportMetric(float64(hedged.Nanoseconds())/float64(b.N), "hedged-ns")
	b.ReportMetric(float64(bare.Nanoseconds())/float64(b.N), "deterministic-ns")
}
