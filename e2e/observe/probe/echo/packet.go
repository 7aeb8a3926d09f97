package echo

import (
	"encoding/binary"
	"time"
)

// A packet is 24 bytes, big-endian: magic, kind, three zero bytes, the
// sender's own index of the peer, and the sending time in Unix nanoseconds.
// The echo returns it unchanged but for the kind, so that a reply is never
// larger than its request.
const (
	packetLen   = 24
	packetMagic = 0x78345042 // "x4PB"
	kindRequest = 1
	kindReply   = 2
)

func appendRequest(b []byte, peer uint64, sent time.Time) []byte {
	b = binary.BigEndian.AppendUint32(b, packetMagic)
	b = append(b, kindRequest, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, peer)
	return binary.BigEndian.AppendUint64(b, uint64(sent.UnixNano()))
}

// parse tells the kind of a datagram and, of a reply, the peer and the time of
// its request. Datagrams that are not of the echo have kind 0.
func parse(b []byte) (kind byte, peer uint64, sent time.Time) {
	if len(b) != packetLen || binary.BigEndian.Uint32(b) != packetMagic {
		return 0, 0, time.Time{}
	}
	return b[4], binary.BigEndian.Uint64(b[8:]), time.Unix(0, int64(binary.BigEndian.Uint64(b[16:])))
}
