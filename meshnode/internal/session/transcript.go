package session

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// role is a side of a session; it selects the keys of a direction.
type role uint8

const (
	initiator role = 0 // its keys protect what the initiator sends
	responder role = 1
)

func (r role) other() role { return 1 - r }

func (r role) String() string {
	if r == initiator {
		return "initiator"
	}
	return "responder"
}

const (
	protocol = "x0tta6bl4-mesh/1 X-Wing ML-DSA-65 SHA-256 AES-256-GCM SipHash-2-4"
	ivSize   = 12
)

// direction holds the keys of what one role sends.
type direction struct {
	key    [32]byte // AES-256-GCM
	iv     [ivSize]byte
	header frame.Key // SipHash-2-4 of frame headers
}

// keys are the secrets of a session.
type keys struct {
	id      frame.SessionID
	sends   [2]direction
	confirm [2][32]byte
}

// replyHash is the transcript up to and including the responder's KEM
// ciphertext and certificate: SHA-256 over the protocol's name, the whole init
// message and the reply without confirmation and signature, each preceded by
// its length as u64.
func replyHash(init, replyCore []byte) [32]byte {
	return hashParts([]byte(protocol), init, replyCore)
}

// finishHash extends replyHash by the responder's confirmation and signature.
func finishHash(reply [32]byte, confirmation, signature []byte) [32]byte {
	return hashParts(reply[:], confirmation, signature)
}

func hashParts(parts ...[]byte) [32]byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return [32]byte(h.Sum(nil))
}

// deriveKeys is HKDF-SHA-256 (RFC 5869): extract with the transcript as salt
// and the KEM's shared secret as key material, then expand once per key with a
// label of its own.
func deriveKeys(secret []byte, transcript [32]byte) (*keys, error) {
	prk, err := hkdf.Extract(sha256.New, secret, transcript[:])
	if err != nil {
		return nil, fmt.Errorf("session keys: %w", err)
	}
	k := new(keys)
	for _, e := range []struct {
		label string
		out   []byte
	}{
		{"session id", k.id[:]},
		{"initiator key", k.sends[initiator].key[:]},
		{"initiator iv", k.sends[initiator].iv[:]},
		{"initiator header", k.sends[initiator].header[:]},
		{"initiator confirmation", k.confirm[initiator][:]},
		{"responder key", k.sends[responder].key[:]},
		{"responder iv", k.sends[responder].iv[:]},
		{"responder header", k.sends[responder].header[:]},
		{"responder confirmation", k.confirm[responder][:]},
	} {
		b, err := hkdf.Expand(sha256.New, prk, "x0tta6bl4-mesh/1 "+e.label, len(e.out))
		if err != nil {
			return nil, fmt.Errorf("session keys: %s: %w", e.label, err)
		}
		copy(e.out, b)
	}
	return k, nil
}

// confirmation proves that role r derived the same keys over the same
// transcript: HMAC-SHA-256 of the transcript under its confirmation key.
func (k *keys) confirmation(r role, transcript [32]byte) []byte {
	mac := hmac.New(sha256.New, k.confirm[r][:])
	mac.Write(transcript[:])
	return mac.Sum(nil)
}

// attestationMessage is what a peer signs when challenged: the session, the
// signer's role in it, so that a challenge cannot be reflected to its sender,
// the challenge and its number.
func attestationMessage(id frame.SessionID, signer role, challenge [32]byte, epoch uint64) []byte {
	b := make([]byte, 0, len(id)+1+len(challenge)+8)
	b = append(b, id[:]...)
	b = append(b, byte(signer))
	b = append(b, challenge[:]...)
	return binary.BigEndian.AppendUint64(b, epoch)
}
