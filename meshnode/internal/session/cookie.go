package session

import (
	"crypto/rand"
	"crypto/subtle"
	"net/netip"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// cookieLife is how long a cookie secret makes cookies; it is accepted as long
// again.
const cookieLife = 2 * time.Minute

// cookies makes and checks stateless cookies (frame.Cookie): a MAC over the source
// address and the init message's id proves that the sender receives at its address. The
// kernel makes and checks the same, so it has to be told of every change.
type cookies struct {
	current, previous frame.Key
	since             time.Duration
	ready             bool
}

// rotate changes the secret when it is due, and reports whether it has.
func (c *cookies) rotate(now time.Duration) bool {
	if c.ready && now-c.since < cookieLife {
		return false
	}
	c.previous = c.current
	if !c.ready || now-c.since >= 2*cookieLife {
		rand.Read(c.previous[:])
	}
	rand.Read(c.current[:])
	c.since, c.ready = now, true
	return true
}

func (c *cookies) make(from netip.AddrPort, id messageID) messageID {
	return frame.Cookie(c.current, from, id)
}

func (c *cookies) check(from netip.AddrPort, id, got messageID) bool {
	a, b := frame.Cookie(c.current, from, id), frame.Cookie(c.previous, from, id)
	return subtle.ConstantTimeCompare(a[:], got[:])|subtle.ConstantTimeCompare(b[:], got[:]) == 1
}
