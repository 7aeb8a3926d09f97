package session

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/kem/xwing"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/pmtu"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// Every frame of a handshake message starts with the message's id, the
// first 16 bytes of its SHA-256 hash, and a token. Fragments are
// joined by that id, so that a retransmission fills gaps, and a message whose
// hash does not match is dropped. The token lets the receiver judge every single
// frame before it keeps anything:
//
//	init            the responder's cookie, zero if there is none yet
//	reply           the id of the init message, which only those who saw it know
//	finish          the id of the reply: a caller can choose that of his init, and so
//	                knows it without receiving anything
//	cookie          the id of the init message; the payload is the cookie
type messageID [16]byte

const (
	handshakePrefix = frame.HandshakePrefix
	handshakePart   = pmtu.Base - frame.HeaderLen - handshakePrefix // nothing is known of the path yet
	nonceSize       = 32
	confirmSize     = sha256.Size
)

var errHandshake = errors.New("malformed handshake message")

func idOf(message []byte) messageID {
	sum := sha256.Sum256(message)
	return messageID(sum[:])
}

// handshakeFrames cuts message into datagrams.
func handshakeFrames(t frame.Type, message []byte, token messageID) [][]byte {
	id := idOf(message)
	parts := transport.Split(message, handshakePart)
	frames := make([][]byte, len(parts))
	for i, p := range parts {
		b := make([]byte, frame.HeaderLen, frame.HeaderLen+handshakePrefix+len(p))
		h := frame.Header{
			Type: t, Length: uint16(handshakePrefix + len(p)),
			Fragment: uint8(i), Fragments: uint8(len(parts)),
		}
		h.Put(b, frame.Key{})
		b = append(b, id[:]...)
		b = append(b, token[:]...)
		frames[i] = append(b, p...)
	}
	return frames
}

// setToken replaces the token of frames.
func setToken(frames [][]byte, token messageID) {
	for _, f := range frames {
		copy(f[frame.HeaderLen+len(token):], token[:])
	}
}

// cutPrefix splits the payload of a handshake frame.
func cutPrefix(payload []byte) (id, token messageID, rest []byte, ok bool) {
	if len(payload) < handshakePrefix {
		return id, token, nil, false
	}
	copy(id[:], payload)
	copy(token[:], payload[len(id):])
	return id, token, payload[handshakePrefix:], true
}

// initMessage opens a handshake:
//
//	generation  u64, highest generation of sessions with this peer
//	nonce       [32]
//	KEM key     [1216], X-Wing, ephemeral
//	responder   u8 length and name: whom the initiator means to reach
//	certificate rest
type initMessage struct {
	generation  uint64
	nonce       [nonceSize]byte
	kem         []byte
	responder   string
	certificate *identity.Certificate
}

func (m *initMessage) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, m.generation)
	b = append(b, m.nonce[:]...)
	b = append(b, m.kem...)
	b = append(b, byte(len(m.responder)))
	b = append(b, m.responder...)
	return append(b, m.certificate.Bytes()...)
}

func parseInit(b []byte) (*initMessage, error) {
	m := new(initMessage)
	const fixed = 8 + nonceSize + xwing.PublicKeySize + 1
	if len(b) < fixed {
		return nil, fmt.Errorf("%w: init of %d bytes", errHandshake, len(b))
	}
	m.generation = binary.BigEndian.Uint64(b)
	copy(m.nonce[:], b[8:])
	m.kem = b[8+nonceSize : fixed-1]
	n := int(b[fixed-1])
	if len(b) < fixed+n || !identity.ValidName(string(b[fixed:fixed+n])) {
		return nil, fmt.Errorf("%w: init names no responder", errHandshake)
	}
	m.responder = string(b[fixed : fixed+n])
	var err error
	m.certificate, err = identity.ParseCertificate(b[fixed+n:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	return m, nil
}

// replyMessage answers an init:
//
//	generation   u64
//	nonce        [32]
//	ciphertext   [1120], X-Wing
//	certificate  u16 length and bytes
//	confirmation [32]   } not part of the core
//	signature    [3309] }
type replyMessage struct {
	generation   uint64
	nonce        [nonceSize]byte
	ciphertext   []byte
	certificate  *identity.Certificate
	core         []byte // everything before the confirmation, as sent
	confirmation []byte
	signature    []byte
}

func (m *replyMessage) encodeCore() []byte {
	b := binary.BigEndian.AppendUint64(nil, m.generation)
	b = append(b, m.nonce[:]...)
	b = append(b, m.ciphertext...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.certificate.Bytes())))
	return append(b, m.certificate.Bytes()...)
}

func parseReply(b []byte) (*replyMessage, error) {
	m := new(replyMessage)
	const fixed = 8 + nonceSize + xwing.CiphertextSize + 2
	if len(b) < fixed {
		return nil, fmt.Errorf("%w: reply of %d bytes", errHandshake, len(b))
	}
	m.generation = binary.BigEndian.Uint64(b)
	copy(m.nonce[:], b[8:])
	m.ciphertext = b[8+nonceSize : fixed-2]
	core := fixed + int(binary.BigEndian.Uint16(b[fixed-2:]))
	if len(b) != core+confirmSize+identity.SignatureSize {
		return nil, fmt.Errorf("%w: reply of %d bytes", errHandshake, len(b))
	}
	var err error
	m.certificate, err = identity.ParseCertificate(b[fixed:core])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	m.core = b[:core]
	m.confirmation = b[core : core+confirmSize]
	m.signature = b[core+confirmSize:]
	return m, nil
}

// parseFinish splits a finish message: confirmation [32], signature [3309].
func parseFinish(b []byte) (confirmation, signature []byte, err error) {
	if len(b) != confirmSize+identity.SignatureSize {
		return nil, nil, fmt.Errorf("%w: finish of %d bytes", errHandshake, len(b))
	}
	return b[:confirmSize], b[confirmSize:], nil
}

// challengeSize is the size of a Challenge payload: epoch u64, challenge [32],
// priority u8. The priority says how the answer is scheduled; it is sealed with
// the rest and is no part of what is signed.
const challengeSize = 8 + 32 + 1

// parseAnswer splits a reassembled attestation: epoch u64, signature [3309].
func parseAnswer(b []byte) (epoch uint64, signature []byte, ok bool) {
	if len(b) != 8+identity.SignatureSize {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(b), b[8:], true
}
