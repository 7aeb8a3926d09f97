package route

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// message is one originator message:
//
//	incarnation u64, sequence u32, TQ u8 (0: no way any more), hops left u8,
//	originator name (1 to 255 bytes)
type message struct {
	originator string
	distance
	hops uint8
}

const (
	messageLen = 14
	maxName    = 255
)

// ErrMessage is the error of bytes that are no originator message.
var ErrMessage = errors.New("route: malformed originator message")

func (m *message) encode() []byte {
	b := make([]byte, messageLen, messageLen+len(m.originator))
	binary.BigEndian.PutUint64(b, m.incarnation)
	binary.BigEndian.PutUint32(b[8:], m.seq)
	b[12], b[13] = m.tq, m.hops
	return append(b, m.originator...)
}

func decode(b []byte) (message, error) {
	if len(b) <= messageLen || len(b) > messageLen+maxName {
		return message{}, fmt.Errorf("%w: %d bytes", ErrMessage, len(b))
	}
	m := message{originator: string(b[messageLen:]), hops: b[13]}
	m.distance = distance{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), b[12]}
	if m.hops == 0 || m.hops > maxHops {
		return message{}, fmt.Errorf("%w: %d hops left", ErrMessage, m.hops)
	}
	return m, nil
}
