package identity

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ClockSkew is by how much the clocks of two nodes may differ: a certificate
// counts this long before its first and after its last moment.
const ClockSkew = time.Hour

// Errors of certificates. ErrMalformed is about bytes, the others about a
// well-formed certificate.
var (
	ErrMalformed   = errors.New("malformed certificate")
	ErrForged      = errors.New("certificate not signed by the mesh root")
	ErrForeign     = fmt.Errorf("%w: it names another root", ErrForged)
	ErrExpired     = errors.New("certificate expired")
	ErrNotYetValid = errors.New("certificate not valid yet")
)

// Certificate binds a node's name to its public key. Encoded, all integers
// big-endian:
//
//	magic      "x4mc" and a version byte, 2
//	issuer     [16], the ID of the mesh root's key: who knows many roots tries that one only
//	serial     [16], random
//	not before u64, Unix seconds
//	not after  u64, Unix seconds
//	name       u8 length, then 1 to 63 bytes of a DNS label (RFC 1123)
//	zone       u8 length, then 0 to 63 bytes of the same form
//	public key [1952]
//	signature  [3309] of the mesh root over all bytes before it
type Certificate struct {
	Issuer    [16]byte
	Serial    [16]byte
	NotBefore time.Time
	NotAfter  time.Time
	Name      string
	Zone      string // as the node stated it; routing prefers by it, nothing is authorised by it
	PublicKey *PublicKey

	raw []byte
}

var certMagic = []byte{'x', '4', 'm', 'c', 2}

const (
	certFixed = 5 + 16 + 16 + 8 + 8
	maxLabel  = 63
	// MaxCertificateSize is the size in bytes of the largest certificate.
	MaxCertificateSize = certFixed + 2*(1+maxLabel) + PublicKeySize + SignatureSize
)

// maxTime bounds what a certificate may state (the year 9999), so that
// arithmetic on it never overflows.
const maxTime = 253402300799

// ValidName reports whether s can name a node: a DNS label of RFC 1123 in lower
// case, 1 to 63 bytes of a-z, 0-9 and inner hyphens.
func ValidName(s string) bool {
	if len(s) == 0 || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// newCertificate encodes and signs a certificate with the root key.
func newCertificate(root *PrivateKey, name, zone string, key *PublicKey, notBefore, notAfter time.Time) (*Certificate, error) {
	var b bytes.Buffer
	b.Write(certMagic)
	issuer := root.public.ID()
	b.Write(issuer[:])
	var serial [16]byte
	rand.Read(serial[:])
	b.Write(serial[:])
	for _, t := range []time.Time{notBefore, notAfter} {
		b.Write(binary.BigEndian.AppendUint64(nil, uint64(t.Unix())))
	}
	if len(name) > math.MaxUint8 || len(zone) > math.MaxUint8 {
		return nil, fmt.Errorf("%w: name or zone too long", ErrMalformed)
	}
	for _, s := range []string{name, zone} {
		b.WriteByte(byte(len(s)))
		b.WriteString(s)
	}
	b.Write(key.raw[:])
	b.Write(root.Sign(ContextCertificate, b.Bytes()))
	return ParseCertificate(b.Bytes())
}

// ParseCertificate decodes a certificate strictly: exactly one encoding of a
// certificate is accepted, with no bytes left over. It checks no signature and
// no time. The error wraps ErrMalformed.
func ParseCertificate(b []byte) (*Certificate, error) {
	if len(b) > MaxCertificateSize {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrMalformed, len(b), MaxCertificateSize)
	}
	rest, ok := bytes.CutPrefix(b, certMagic)
	if !ok || len(b) < certFixed {
		return nil, fmt.Errorf("%w: no certificate", ErrMalformed)
	}
	c := &Certificate{raw: bytes.Clone(b)}
	rest = rest[copy(c.Issuer[:], rest):]
	copy(c.Serial[:], rest)
	notBefore, notAfter := binary.BigEndian.Uint64(rest[16:]), binary.BigEndian.Uint64(rest[24:])
	if notAfter > maxTime || notBefore >= notAfter {
		return nil, fmt.Errorf("%w: validity %d to %d", ErrMalformed, notBefore, notAfter)
	}
	c.NotBefore, c.NotAfter = time.Unix(int64(notBefore), 0), time.Unix(int64(notAfter), 0)
	rest = rest[32:]
	if c.Name, rest, ok = cutLabel(rest); !ok || !ValidName(c.Name) {
		return nil, fmt.Errorf("%w: name", ErrMalformed)
	}
	if c.Zone, rest, ok = cutLabel(rest); !ok || c.Zone != "" && !ValidName(c.Zone) {
		return nil, fmt.Errorf("%w: zone", ErrMalformed)
	}
	if len(rest) != PublicKeySize+SignatureSize {
		return nil, fmt.Errorf("%w: %d bytes of key and signature, want %d", ErrMalformed, len(rest), PublicKeySize+SignatureSize)
	}
	key, err := ParsePublicKey(rest[:PublicKeySize])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	c.PublicKey = key
	return c, nil
}

func cutLabel(b []byte) (label string, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}

// Bytes returns the encoded certificate, which the caller must not change.
func (c *Certificate) Bytes() []byte { return c.raw }

// Verify checks that root signed c and that now lies in its time, allowing for
// ClockSkew. The error wraps ErrForged, ErrExpired or ErrNotYetValid.
func (c *Certificate) Verify(root *PublicKey, now time.Time) error {
	if now.Add(ClockSkew).Before(c.NotBefore) {
		return fmt.Errorf("%w: %s, from %s", ErrNotYetValid, c.Name, c.NotBefore.UTC().Format(time.RFC3339))
	}
	if now.Add(-ClockSkew).After(c.NotAfter) {
		return fmt.Errorf("%w: %s, at %s", ErrExpired, c.Name, c.NotAfter.UTC().Format(time.RFC3339))
	}
	return c.VerifyIssuer(root)
}
