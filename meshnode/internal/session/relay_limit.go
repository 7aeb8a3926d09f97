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

	relayOrigins = 1024 // known at once of one neighbour
	relayIdle    = 10 * time.Second
)

// relayLimit keeps two token buckets for every pair of neighbour and origin:
// the neighbour is authenticated, and cannot use up what others have for the
// same origin. Whoever calls it has seen that the origin is a member: that the routes
// know it or that a session with it exists. So many of one neighbour take no room of
// another's. The zero value is ready; it locks itself.
type relayLimit struct {
	mu         sync.Mutex
	neighbours map[Peer]map[Peer]*relayBuckets // by neighbour and origin
}

type relayBuckets struct {
	last              time.Duration
	bytes, handshakes float64 // used up
}

// allow takes size bytes of a frame of type t and reports whether they may pass.
func (l *relayLimit) allow(now time.Duration, neighbour, origin Peer, t frame.Type, size int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.neighbours[neighbour][origin]
	if b == nil {
		if len(l.neighbours[neighbour]) >= relayOrigins {
			return false
		}
		if l.neighbours == nil {
			l.neighbours = make(map[Peer]map[Peer]*relayBuckets)
		}
		if l.neighbours[neighbour] == nil {
			l.neighbours[neighbour] = make(map[Peer]*relayBuckets)
		}
		b = &relayBuckets{last: now}
		l.neighbours[neighbour][origin] = b
	}
	passed := max(now-b.last, 0).Seconds()
	b.last = max(b.last, now)
	b.bytes = max(b.bytes-passed*relayRate, 0)
	b.handshakes = max(b.handshakes-passed*relayHandshakeRate, 0)
	if t.Class() == frame.ClassHandshake {
		if b.handshakes+1 > relayHandshakeBurst {
			return false
		}
		b.handshakes++
	}
	if b.bytes+float64(size) > relayBurst {
		return false
	}
	b.bytes += float64(size)
	return true
}

// expire forgets pairs that were silent for so long that their buckets are full.
func (l *relayLimit) expire(now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for neighbour, origins := range l.neighbours {
		maps.DeleteFunc(origins, func(_ Peer, b *relayBuckets) bool { return now-b.last >= relayIdle })
		if len(origins) == 0 {
			delete(l.neighbours, neighbour)
		}
	}
}
