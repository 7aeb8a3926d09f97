package session

import (
	"maps"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// What one neighbour may hand over of one origin. Beyond it frames are lost, as
// on a full link: who sends more must expect that.
const (
	relayRate  = 8 << 20 // bytes per second
	relayBurst = 4 << 20 // bytes; the answer to one vector fits
	// Handshakes cost public-key operations; the kernel, which bounds them per
	// source elsewhere, does not see these. One takes 8 frames.
	relayHandshakeRate  = 64 // frames per second
	relayHandshakeBurst = 64

	relayOrigins    = 1024 // known at once of one neighbour
	relayNeighbours = 4096 // known at once
	relayIdle       = 10 * time.Second
)

// relayBound bounds what a pair of token buckets lets through.
type relayBound struct{ rate, burst, handshakeRate, handshakeBurst float64 }

var (
	relayOfOne = relayBound{relayRate, relayBurst, relayHandshakeRate, relayHandshakeBurst}
	// What one neighbour may hand over of all origins together: it can name every
	// member as one.
	relayOfAll = relayBound{2 * relayRate, 2 * relayBurst, 4 * relayHandshakeRate, 4 * relayHandshakeBurst}
)

// relayLimit keeps two token buckets for every pair of neighbour and origin, and two for
// every neighbour: the neighbour is authenticated, and cannot use up what others have for
// the same origin. Whoever calls it has seen that the origin is a member: that the routes
// know it or that a session with it exists. So many of one neighbour take no room of
// another's. The zero value is ready; it locks itself.
type relayLimit struct {
	mu         sync.Mutex
	neighbours map[Peer]*relayNeighbour
}

type relayNeighbour struct {
	all     relayBuckets
	origins map[Peer]*relayBuckets
}

type relayBuckets struct {
	last              time.Duration
	bytes, handshakes float64 // used up
}

// buckets returns those of a neighbour and of a pair, nil if there are too many. It needs l.mu.
func (l *relayLimit) buckets(now time.Duration, neighbour, origin Peer) (all, one *relayBuckets) {
	n := l.neighbours[neighbour]
	if n == nil {
		if len(l.neighbours) >= relayNeighbours {
			return nil, nil
		}
		if l.neighbours == nil {
			l.neighbours = make(map[Peer]*relayNeighbour)
		}
		n = &relayNeighbour{all: relayBuckets{last: now}, origins: make(map[Peer]*relayBuckets)}
		l.neighbours[neighbour] = n
	}
	one = n.origins[origin]
	if one == nil {
		if len(n.origins) >= relayOrigins {
			return nil, nil
		}
		one = &relayBuckets{last: now}
		n.origins[origin] = one
	}
	return &n.all, one
}

// room reports whether b has room for so much more.
func (b *relayBuckets) room(now time.Duration, bound *relayBound, bytes, handshakes float64) bool {
	passed := max(now-b.last, 0).Seconds()
	b.last = max(b.last, now)
	b.bytes = max(b.bytes-passed*bound.rate, 0)
	b.handshakes = max(b.handshakes-passed*bound.handshakeRate, 0)
	return b.bytes+bytes <= bound.burst && b.handshakes+handshakes <= bound.handshakeBurst
}

func (b *relayBuckets) take(bytes, handshakes float64) {
	b.bytes += bytes
	b.handshakes += handshakes
}

// allow takes size bytes of a frame of type t and reports whether they may pass. What may
// not takes nothing.
func (l *relayLimit) allow(now time.Duration, neighbour, origin Peer, t frame.Type, size int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, one := l.buckets(now, neighbour, origin)
	if all == nil {
		return false
	}
	bytes, handshakes := float64(size), 0.0
	if t.Class() == frame.ClassHandshake {
		handshakes = 1
	}
	if !one.room(now, &relayOfOne, bytes, handshakes) || !all.room(now, &relayOfAll, bytes, handshakes) {
		return false
	}
	one.take(bytes, handshakes)
	all.take(bytes, handshakes)
	return true
}

// expire forgets pairs that were silent for so long that their buckets are full, and
// neighbours without pairs: theirs are full sooner.
func (l *relayLimit) expire(now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for neighbour, n := range l.neighbours {
		maps.DeleteFunc(n.origins, func(_ Peer, b *relayBuckets) bool { return now-b.last >= relayIdle })
		if len(n.origins) == 0 {
			delete(l.neighbours, neighbour)
		}
	}
}
