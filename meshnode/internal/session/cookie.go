package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"time"
)

// cookieLife is how long a cookie secret makes cookies; it is accepted as long
// again.
const cookieLife = 2 * time.Minute

// cookies makes and checks stateless cookies: a MAC over the source address and
// the init message's id proves that the sender receives at its address. The
// zero value is ready.
type cookies struct {
	current, previous [32]byte
	since             time.Duration
	ready             bool
}

func (c *cookies) rotate(now time.Duration) {
	if c.ready && now-c.since < cookieLife {
		return
	}
	c.previous = c.current
	if !c.ready || now-c.since >= 2*cookieLife {
		rand.Read(c.previous[:])
	}
	rand.Read(c.current[:])
	c.since, c.ready = now, true
}

func (c *cookies) make(now time.Duration, from netip.AddrPort, id messageID) messageID {
	c.rotate(now)
	return cookie(&c.current, from, id)
}

func (c *cookies) check(now time.Duration, from netip.AddrPort, id, got messageID) bool {
	c.rotate(now)
	a, b := cookie(&c.current, from, id), cookie(&c.previous, from, id)
	return hmac.Equal(a[:], got[:]) || hmac.Equal(b[:], got[:])
}

func cookie(secret *[32]byte, from netip.AddrPort, id messageID) messageID {
	mac := hmac.New(sha256.New, secret[:])
	ip := from.Addr().As16()
	mac.Write(ip[:])
	mac.Write([]byte{byte(from.Port() >> 8), byte(from.Port())})
	mac.Write(id[:])
	return messageID(mac.Sum(nil))
}
