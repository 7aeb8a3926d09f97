package session

import (
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

	relayPairs = 8192 // neighbours and origins known at once
	relayIdle  = 10 * time.Second
)

// relayLimit keeps two token buckets for every pair of neighbour and origin:
// the neighbour is authenticated, and cannot use up what others have for the
// same origin. The zero value is ready; it locks itself.
type relayLimit struct {
	mu    sync.Mutex
	pairs map[relayPair]*relayBuckets
}

type relayPair struct{ neighbour, origin Peer }

type relayBuckets struct {
	last              time.Duration
	bytes, handshakes float64 // used up
}

// allow takes size bytes of a frame of type t and reports whether they may pass.
func (l *relayLimit) allow(now time.Duration, neighbour, origin Peer, t frame.Type, size int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := relayPair{neighbour, origin}
	b := l.pairs[key]
	if b == nil {
		if len(l.pairs) >= relayPairs {
			return false
		}
		if l.pairs == nil {
			l.pairs = make(map[relayPair]*relayBuckets)
		}
		b = &relayBuckets{last: now}
		l.pairs[key] = b
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
	for key, b := range l.pairs {
		if now-b.last >= relayIdle {
			delete(l.pairs, key)
		}
	}
}
