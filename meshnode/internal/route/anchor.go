package route

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// ErrForged is the error of a routing message that its originator did not make.
var ErrForged = errors.New("route: forged message")

// Voucher signs for this node and checks what others signed.
type Voucher interface {
	// Vouch signs a statement; it is made when the time at which the signing key's
	// certificate was issued is known.
	Vouch(statement func(issued time.Time) []byte) (certificate, signature []byte)
	// Confirm returns whose signature of a statement it is, and when its certificate
	// was issued. The error says that it is no member's.
	Confirm(certificate, signature, statement []byte) (name string, issued time.Time, err error)
}

// An anchor is a payload of its own:
//
//	kind u8 (anchored), originator u8 length and name, incarnation u64,
//	chain value 0 [16], certificate u16 length and bytes, signature (rest)
//
// Signed is all up to the chain value. The incarnation is the second in which the
// certificate was issued, and the number of the chain since the process began:
//
//	incarnation = issued << numberBits | number
type anchor struct {
	originator             string
	incarnation            uint64
	value                  proof
	certificate, signature []byte
	statement              []byte
}

const (
	numberBits = 20
	// maxAnchor bounds an anchor, whose certificate and signature are ML-DSA-65's.
	maxAnchor = 12 << 10
	// perSecond bounds what a neighbour can make this node do: that many anchors are
	// sent to it, and as many of its are verified: a tenth of a core. In a mesh of 500
	// nodes that all start at once it may have most of them to tell.
	perSecond = 512
	// What counts for more than one: an anchor that was not good, and a wide gap.
	badAnchor = perSecond / 8
	wideGap   = perSecond / 64
)

func incarnationOf(issued time.Time, number uint32) uint64 {
	return uint64(issued.Unix())<<numberBits | uint64(number)%(1<<numberBits)
}

func decodeAnchor(b []byte) (*anchor, error) {
	bad := fmt.Errorf("%w: anchor of %d bytes", ErrMessage, len(b))
	if len(b) < 2 || len(b) > maxAnchor || len(b) < 2+int(b[1])+8+len(proof{})+2 {
		return nil, bad
	}
	n := 2 + int(b[1])
	a := &anchor{originator: string(b[2:n]), incarnation: binary.BigEndian.Uint64(b[n:])}
	n += 8 + copy(a.value[:], b[n+8:])
	a.statement = b[:n]
	size := int(binary.BigEndian.Uint16(b[n:]))
	if b = b[n+2:]; !identity.ValidName(a.originator) || len(b) <= size {
		return nil, bad
	}
	a.certificate, a.signature = b[:size], b[size:]
	return a, nil
}

// rechain begins a chain and has it vouched for.
func (t *Table) rechain() {
	t.number++
	certificate, signature := t.voucher.Vouch(func(issued time.Time) []byte {
		t.incarnation, t.seq = incarnationOf(issued, t.number), 0
		t.chain = newChain(t.self, t.incarnation)
		b := append([]byte{byte(anchored), byte(len(t.self))}, t.self...)
		b = binary.BigEndian.AppendUint64(b, t.incarnation)
		t.anchor = append(b, t.chain.values[0][:]...)
		return t.anchor
	})
	b := binary.BigEndian.AppendUint16(t.anchor[:len(t.anchor):len(t.anchor)], uint16(len(certificate)))
	t.anchor = append(append(b, certificate...), signature...)
}

// budget bounds what may be done within a second.
type budget struct {
	since time.Time
	used  int
}

func (b *budget) spend(now time.Time, n int) bool {
	if now.Sub(b.since) >= time.Second {
		*b = budget{since: now}
	}
	b.used += n
	return b.used <= perSecond
}

// anchored takes in an anchor.
func (t *Table) anchored(now time.Time, from string, payload []byte) error {
	a, err := decodeAnchor(payload)
	if err != nil {
		return err
	}
	d := t.dests[a.originator]
	l := t.links[from]
	switch {
	case a.originator == t.self, d != nil && a.incarnation <= d.chain.incarnation, d == nil && len(t.dests) >= maxDestinations:
		return nil
	case !l.verified.spend(now, 1):
		return nil
	}
	name, issued, err := t.voucher.Confirm(a.certificate, a.signature, a.statement)
	if err != nil || name != a.originator {
		l.verified.spend(now, badAnchor)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: anchor of %s: %w", ErrForged, a.originator, err)
	case name != a.originator || a.incarnation>>numberBits != uint64(issued.Unix()):
		return fmt.Errorf("%w: anchor of %s by %s, incarnation %d", ErrForged, a.originator, name, a.incarnation)
	}
	if d == nil {
		d = &destination{heard: now}
		t.dests[a.originator] = d
	}
	d.chain = revealed{anchor: payload, incarnation: a.incarnation, salt: saltOf(a.originator, a.incarnation), value: a.value}
	return nil
}

// asked is a table of a fixed size: what was asked for last, by a keyed hash of the name,
// so that invented names take no room.
type asked struct {
	seed  maphash.Seed
	slots [512]struct {
		name uint64
		at   time.Time
	}
}

// lately reports whether a name was asked for within askEvery, and notes it if not.
func (a *asked) lately(now time.Time, name string) bool {
	if a.seed == (maphash.Seed{}) {
		a.seed = maphash.MakeSeed()
	}
	h := maphash.String(a.seed, name)
	s := &a.slots[h%uint64(len(a.slots))]
	if s.name == h && now.Sub(s.at) < askEvery {
		return true
	}
	s.name, s.at = h, now
	return false
}

// want asks a neighbour for the anchor of what it has announced.
func (t *Table) want(now time.Time, from string, m *message) {
	if !t.wants.lately(now, m.originator) {
		t.tell(from, message{kind: wanted, originator: m.originator, distance: distance{incarnation: m.incarnation}, hops: 1})
	}
}

// answerWant sends an anchor and, again, what was announced under it.
func (t *Table) answerWant(now time.Time, from string, m *message) {
	if m.originator == t.self {
		if t.tellAnchor(now, from, t.anchor) && t.seq > 0 {
			t.tell(from, t.own(news))
		}
		return
	}
	d := t.dests[m.originator]
	if d == nil || d.chain.incarnation < m.incarnation || !t.tellAnchor(now, from, d.chain.anchor) || d.next == from {
		return
	}
	if i, ok := d.find(d.next); ok && d.from[i].hops > 1 {
		t.tell(from, d.passOn(&d.from[i], m.originator, news))
	}
}

// tellAnchor queues an anchor for a neighbour if it has not had too many.
func (t *Table) tellAnchor(now time.Time, n string, payload []byte) bool {
	l := t.links[n]
	if l == nil || !l.usable() || !l.told.spend(now, 1) {
		return false
	}
	l.queue.anchors = append(l.queue.anchors, payload)
	l.queue.urgent = true
	return true
}
