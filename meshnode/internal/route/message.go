package route

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// kind says what an entry is.
type kind uint8

const (
	// announcement tells the sender's distance to a node.
	announcement kind = iota
	// news is an announcement that is passed on without delay.
	news
	// request asks for an announcement with at least the given sequence: the
	// sequence number requests of RFC 8966, section 3.8.2.1.
	request
	// wanted asks a neighbour for the anchor of a node that it has announced.
	wanted
	// anchored is the kind of an anchor, which is a payload of its own.
	anchored
)

// message is one entry of a payload:
//
//	kind u8, originator u8 length and name, incarnation u64, sequence u32,
//	TQ u8 (0: no way any more), hops left u8, and of an announcement with a TQ:
//	proof [16]
type message struct {
	kind       kind
	originator string
	distance
	hops  uint8
	proof proof
}

// proven reports whether m carries a proof. That there is no way any more is what a
// neighbour says of itself.
func (m *message) proven() bool { return m.kind <= news && m.tq > 0 }

const (
	entryLen = 16 // without name and proof
	// maxPayload keeps a payload in one sealed frame.
	maxPayload = 1384
)

// ErrMessage is the error of bytes that are no routing message.
var ErrMessage = errors.New("route: malformed message")

func (m *message) size() int {
	n := entryLen + len(m.originator)
	if m.proven() {
		n += len(m.proof)
	}
	return n
}

func (m *message) append(b []byte) []byte {
	b = append(b, byte(m.kind), byte(len(m.originator)))
	b = append(b, m.originator...)
	b = binary.BigEndian.AppendUint64(b, m.incarnation)
	b = binary.BigEndian.AppendUint32(b, m.seq)
	b = append(b, m.tq, m.hops)
	if m.proven() {
		b = append(b, m.proof[:]...)
	}
	return b
}

// decode returns the entries of a payload, at least one.
func decode(b []byte) ([]message, error) {
	if len(b) == 0 || len(b) > maxPayload {
		return nil, fmt.Errorf("%w: %d bytes", ErrMessage, len(b))
	}
	messages := make([]message, 0, len(b)/(entryLen+1))
	for len(b) > 0 {
		if len(b) < 2 || len(b) < entryLen+int(b[1]) {
			return nil, fmt.Errorf("%w: entry of %d bytes", ErrMessage, len(b))
		}
		end := 2 + int(b[1]) // as a byte it would begin again at 0
		m := message{kind: kind(b[0]), originator: string(b[2:end])}
		if !identity.ValidName(m.originator) {
			return nil, fmt.Errorf("%w: originator of %d bytes", ErrMessage, b[1])
		}
		d := b[end:]
		m.distance = distance{binary.BigEndian.Uint64(d), binary.BigEndian.Uint32(d[8:]), d[12]}
		m.hops = d[13]
		if m.kind > wanted || m.hops == 0 || m.hops > maxHops {
			return nil, fmt.Errorf("%w: kind %d, %d hops left", ErrMessage, m.kind, m.hops)
		}
		if b = d[14:]; m.proven() {
			if len(b) < len(m.proof) {
				return nil, fmt.Errorf("%w: announcement without a proof", ErrMessage)
			}
			b = b[copy(m.proof[:], b):]
		}
		messages = append(messages, m)
	}
	return messages, nil
}
