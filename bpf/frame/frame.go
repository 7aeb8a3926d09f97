// Package frame is the Go side of the mesh frame: the 40-byte header that
// every datagram between mesh nodes starts with. The C side, which the eBPF
// verifier parses, is bpf/headers/frame.h; a test compares the two.
//
// Layout, all integers big-endian:
//
//	offset size field
//	     0    2 magic      0x7834 ("x4")
//	     2    1 version    1
//	     3    1 type       see Type
//	     4    2 length     bytes of payload after the header, at most MaxPayload
//	     6    1 fragment   index of this fragment, below fragments
//	     7    1 fragments  number of fragments of the message, at least 1
//	     8   16 session    session id; all zero only in handshakes
//	    24    8 sequence   per session and direction, counts from 1
//	    32    8 tag        SipHash-2-4 of bytes 0..31 under the direction's header key
//
// SipHash: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dchest/siphash"
)

const (
	// Port is the UDP port of mesh traffic.
	Port = 26970
	// Magic opens every mesh frame.
	Magic uint16 = 0x7834
	// Version is the only version of the header.
	Version = 1
	// HeaderLen is the size of the header in bytes.
	HeaderLen = 40
	// MaxPayload is the largest payload of one frame in bytes.
	MaxPayload = 1400
	// MaxFragments is the largest number of fragments of one message.
	MaxFragments = 16
	// TagOffset is where the tag starts; the tag covers the bytes before it.
	TagOffset = 32
	// ReplayWindow is the number of sequence numbers that a receiver remembers: how
	// far the network may carry frames out of the order in which they were sent.
	ReplayWindow = 2016
)

// Type says what a frame carries; its high nibble is its class.
type Type uint8

// The classes decide what the verifier asks of a frame.
const (
	// ClassHandshake frames belong to no session: they carry a zero session
	// id, sequence and tag, and are limited per source address.
	ClassHandshake Type = 0x10
	// ClassSignature frames carry fragments of attestation signatures of a
	// live session in clear and go up the ring buffer.
	ClassSignature Type = 0x20
	// ClassControl frames are sealed and need a live session, verified or not:
	// heartbeats, challenges and probes must flow before and between attestations.
	ClassControl Type = 0x30
	// ClassData frames are sealed and need a session that is verified now.
	ClassData Type = 0x40

	classMask Type = 0xf0
)

// The frame types.
const (
	HandshakeInit   = ClassHandshake | 1 // certificate, nonce, ephemeral KEM key
	HandshakeReply  = ClassHandshake | 2 // certificate, nonce, KEM ciphertext, signature
	HandshakeFinish = ClassHandshake | 3 // the initiator's signature
	HandshakeCookie = ClassHandshake | 4 // stateless answer to first contact under load

	AttestationSignature = ClassSignature | 1

	Heartbeat     = ClassControl | 1
	HeartbeatEcho = ClassControl | 2
	Challenge     = ClassControl | 3
	ProbeRequest  = ClassControl | 4
	ProbeReply    = ClassControl | 5
	Routing       = ClassControl | 6
	// AttestationProof is an attestation that is sealed, which its receiver asks for
	// when one that came in clear was bad.
	AttestationProof = ClassControl | 7
	// PathProbe is as large as the datagrams that its sender means to send; PathEcho
	// says that one came through.
	PathProbe = ClassControl | 8
	PathEcho  = ClassControl | 9
	// AttestationSealed is an attestation that goes by relay. Its frames are sealed and of
	// a type of their own: those of the signature class are taken for clear ones wherever
	// they come straight, and a relay may send on straight what it has seen.
	AttestationSealed = ClassControl | 10

	Data    = ClassData | 1
	DataAck = ClassData | 2
	Relay   = ClassData | 3
	Client  = ClassData | 4 // what nodes say to each other about client sessions
)

// Class returns the class of t; it may be none of the known ones.
func (t Type) Class() Type { return t & classMask }

// SessionID names a session; both directions share it.
type SessionID [16]byte

func (s SessionID) String() string { return fmt.Sprintf("%x", s[:]) }

// Key is a SipHash key: the header key of one direction of a session.
type Key [16]byte

// Header is a decoded frame header without its tag.
type Header struct {
	Type      Type
	Length    uint16 // payload bytes
	Fragment  uint8
	Fragments uint8
	Session   SessionID
	Sequence  uint64
}

// ErrMalformed is the error of bytes that are no mesh frame.
var ErrMalformed = errors.New("malformed frame")

// Put writes h and its tag under key into the first HeaderLen bytes of dst.
// Handshake frames get a zero tag.
func (h *Header) Put(dst []byte, key Key) {
	_ = dst[HeaderLen-1]
	binary.BigEndian.PutUint16(dst[0:], Magic)
	dst[2], dst[3] = Version, byte(h.Type)
	binary.BigEndian.PutUint16(dst[4:], h.Length)
	dst[6], dst[7] = h.Fragment, h.Fragments
	copy(dst[8:24], h.Session[:])
	binary.BigEndian.PutUint64(dst[24:], h.Sequence)
	var tag uint64
	if h.Type.Class() != ClassHandshake {
		tag = Tag(dst, key)
	}
	binary.BigEndian.PutUint64(dst[TagOffset:], tag)
}

// Tag computes the header tag of the frame b under key.
func Tag(b []byte, key Key) uint64 {
	k0 := binary.LittleEndian.Uint64(key[0:])
	k1 := binary.LittleEndian.Uint64(key[8:])
	return siphash.Hash(k0, k1, b[:TagOffset])
}

// Parse decodes the header of the datagram b and returns its payload, which
// aliases b. It checks the form only: not the tag, the session or the sequence.
// The error wraps ErrMalformed.
func Parse(b []byte) (Header, []byte, error) {
	var h Header
	if len(b) < HeaderLen {
		return h, nil, fmt.Errorf("%w: %d bytes, want at least %d", ErrMalformed, len(b), HeaderLen)
	}
	if m := binary.BigEndian.Uint16(b); m != Magic {
		return h, nil, fmt.Errorf("%w: magic %#04x", ErrMalformed, m)
	}
	if b[2] != Version {
		return h, nil, fmt.Errorf("%w: version %d", ErrMalformed, b[2])
	}
	h.Type = Type(b[3])
	switch h.Type.Class() {
	case ClassHandshake, ClassSignature, ClassControl, ClassData:
	default:
		return h, nil, fmt.Errorf("%w: type %#02x", ErrMalformed, b[3])
	}
	h.Length = binary.BigEndian.Uint16(b[4:])
	if h.Length > MaxPayload || int(h.Length) != len(b)-HeaderLen {
		return h, nil, fmt.Errorf("%w: length %d of %d bytes", ErrMalformed, h.Length, len(b)-HeaderLen)
	}
	h.Fragment, h.Fragments = b[6], b[7]
	if h.Fragments == 0 || h.Fragments > MaxFragments || h.Fragment >= h.Fragments {
		return h, nil, fmt.Errorf("%w: fragment %d of %d", ErrMalformed, h.Fragment, h.Fragments)
	}
	copy(h.Session[:], b[8:24])
	h.Sequence = binary.BigEndian.Uint64(b[24:])
	return h, b[HeaderLen:], nil
}
