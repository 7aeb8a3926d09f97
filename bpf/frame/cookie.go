package frame

import (
	"encoding/binary"
	"net/netip"
)

// A handshake frame's payload starts with HandshakePrefix bytes: the id of the message
// and a token. The token of an init is the responder's cookie, zero if there is none yet;
// that of any other message the id of the init message. A cookie message's payload is the
// cookie behind the prefix.
const (
	HandshakePrefix = 32
	CookieLen       = 16
)

// Cookie is what a responder that keeps nothing yet asks a caller to show: whoever shows
// it receives what is sent to the source. It is SipHash-2-4 of the source's address and
// port and the first 14 bytes of the id of the init message, big-endian, and 8 zero
// bytes. Compare it in constant time. The verifier makes and checks the same.
func Cookie(secret Key, source netip.AddrPort, call [16]byte) (cookie [CookieLen]byte) {
	var b [TagOffset]byte
	ip := source.Addr().As16()
	copy(b[:], ip[:])
	binary.BigEndian.PutUint16(b[16:], source.Port())
	copy(b[18:], call[:])
	binary.BigEndian.PutUint64(cookie[:], Tag(b[:], secret))
	return cookie
}
