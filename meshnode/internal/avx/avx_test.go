package avx

import (
	"crypto/sha256"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
)

func TestRelease(t *testing.T) {
	Release() // must not fault on any processor, with or without AVX
}

// BenchmarkHashAfterVerify shows what Release is for. A circl that clears the
// registers itself makes the two equal; then this package can go.
func BenchmarkHashAfterVerify(b *testing.B) {
	message := make([]byte, 8192)
	pk, sk, err := mldsa65.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	signature := make([]byte, mldsa65.SignatureSize)
	if err := mldsa65.SignTo(sk, message[:64], nil, true, signature); err != nil {
		b.Fatal(err)
	}
	for name, release := range map[string]func(){"released": Release, "not": func() {}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				mldsa65.Verify(pk, message[:64], nil, signature)
				release()
				sha256.Sum256(message)
			}
		})
	}
}
