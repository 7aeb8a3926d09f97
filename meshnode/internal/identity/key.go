package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"github.com/x0tta6bl4/mesh/meshnode/internal/avx"
)

// Sizes in bytes (FIPS 204, table 2).
const (
	PublicKeySize = mldsa65.PublicKeySize // 1952
	SignatureSize = mldsa65.SignatureSize // 3309
	SeedSize      = mldsa65.SeedSize      // 32
)

// Context separates the uses of one key: a signature made for one never
// verifies for another (FIPS 204, section 5.2, the context string).
type Context string

// The uses of keys.
const (
	ContextCertificate Context = "x0tta6bl4-mesh/1 certificate"
	ContextEnrolment   Context = "x0tta6bl4-mesh/1 enrolment"
	ContextInitiator   Context = "x0tta6bl4-mesh/1 handshake initiator"
	ContextResponder   Context = "x0tta6bl4-mesh/1 handshake responder"
	ContextAttestation Context = "x0tta6bl4-mesh/1 attestation"
	ContextRoute       Context = "x0tta6bl4-mesh/1 route anchor"
	ContextRecord      Context = "x0tta6bl4-mesh/1 record"
)

// ErrKey is the error of bytes that are no key.
var ErrKey = errors.New("malformed key")

// PublicKey verifies signatures.
type PublicKey struct {
	key mldsa65.PublicKey
	raw [PublicKeySize]byte
}

// ParsePublicKey decodes an ML-DSA-65 public key. The error wraps ErrKey.
func ParsePublicKey(b []byte) (*PublicKey, error) {
	if len(b) != PublicKeySize {
		return nil, fmt.Errorf("%w: public key of %d bytes, want %d", ErrKey, len(b), PublicKeySize)
	}
	defer avx.Release()
	p := new(PublicKey)
	copy(p.raw[:], b)
	p.key.Unpack(&p.raw)
	return p, nil
}

// Bytes returns the encoded key.
func (p *PublicKey) Bytes() []byte { return append([]byte(nil), p.raw[:]...) }

// Equal reports whether p and o are the same key.
func (p *PublicKey) Equal(o *PublicKey) bool { return p.raw == o.raw }

// ID returns the first 16 bytes of the key's SHA-256 hash, which names the key
// in logs.
func (p *PublicKey) ID() [16]byte {
	sum := sha256.Sum256(p.raw[:])
	return [16]byte(sum[:16])
}

// Verify reports whether sig is p's signature over msg made for use ctx.
func (p *PublicKey) Verify(ctx Context, msg, sig []byte) bool {
	defer avx.Release()
	return len(sig) == SignatureSize && mldsa65.Verify(&p.key, msg, []byte(ctx), sig)
}

// Signer is a private key as those who sign with it see it.
type Signer interface {
	// Public returns the public half.
	Public() *PublicKey
	// Sign signs msg for use ctx. It may be called by several goroutines.
	Sign(ctx Context, msg []byte) []byte
}

// PrivateKey is a Signer. It is made from a seed and never leaves the process but as
// that seed.
type PrivateKey struct {
	key    *mldsa65.PrivateKey
	public *PublicKey
	seed   [SeedSize]byte
}

// GenerateKey makes a key pair from the system's randomness.
func GenerateKey() *PrivateKey {
	var seed [SeedSize]byte
	rand.Read(seed[:]) // never fails (crypto/rand since Go 1.24)
	return NewKey(seed)
}

// NewKey makes the key pair of a seed.
func NewKey(seed [SeedSize]byte) *PrivateKey {
	defer avx.Release()
	pk, sk := mldsa65.NewKeyFromSeed(&seed)
	p := &PublicKey{key: *pk}
	pk.Pack(&p.raw)
	return &PrivateKey{key: sk, public: p, seed: seed}
}

// Public returns the public half.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// Seed returns the secret seed that NewKey takes.
func (k *PrivateKey) Seed() [SeedSize]byte { return k.seed }

// Sign signs msg for use ctx with fresh randomness (the hedged variant of FIPS
// 204, which also resists fault attacks).
func (k *PrivateKey) Sign(ctx Context, msg []byte) []byte {
	defer avx.Release()
	sig := make([]byte, SignatureSize)
	if err := mldsa65.SignTo(k.key, msg, []byte(ctx), true, sig); err != nil {
		// Only a context above 255 bytes fails, and contexts are constants.
		panic(err)
	}
	return sig
}
