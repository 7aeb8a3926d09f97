package transport

import (
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// Reassembler joins the fragments of messages, in any order and with
// duplicates, within bounds that no sender can exceed: Messages in all and
// PerSource of one source (the oldest gives way in either case), each at most
// frame.MaxFragments*frame.MaxPayload bytes and Age old. S identifies a source,
// K a message of that source. It is not safe for concurrent use.
type Reassembler[S, K comparable] struct {
	Messages  int
	PerSource int
	Age       time.Duration

	partial map[reassemblyKey[S, K]]*partial
	sources map[S]int
}

type reassemblyKey[S, K comparable] struct {
	source S
	key    K
	count  uint8
}

type partial struct {
	fragments [][]byte
	missing   int
	since     time.Duration
}

// Add takes fragment index of count of the message key at time now, and
// returns the whole message once, when its last missing fragment comes. It
// copies payload when it keeps it. The first copy of a fragment wins.
func (r *Reassembler[S, K]) Add(now time.Duration, source S, key K, index, count uint8, payload []byte) (message []byte, complete bool) {
	if count == 0 || count > frame.MaxFragments || index >= count || len(payload) > frame.MaxPayload {
		return nil, false
	}
	if count == 1 {
		return payload, true
	}
	k := reassemblyKey[S, K]{source, key, count}
	p := r.partial[k]
	if p == nil {
		r.room(source)
		p = &partial{fragments: make([][]byte, count), missing: int(count), since: now}
		r.partial[k] = p
		r.sources[source]++
	}
	if p.fragments[index] != nil {
		return nil, false
	}
	p.fragments[index] = append(make([]byte, 0, len(payload)), payload...)
	if p.missing--; p.missing > 0 {
		return nil, false
	}
	r.remove(k)
	for _, f := range p.fragments {
		message = append(message, f...)
	}
	return message, true
}

// Len returns the number of incomplete messages.
func (r *Reassembler[S, K]) Len() int { return len(r.partial) }

// Expire forgets messages older than Age.
func (r *Reassembler[S, K]) Expire(now time.Duration) {
	for k, p := range r.partial {
		if now-p.since >= r.Age {
			r.remove(k)
		}
	}
}

// room makes room for one more message of source. What is new wins: its fragments come
// within a moment, and what is old and not whole is likely to stay so.
func (r *Reassembler[S, K]) room(source S) {
	if r.partial == nil {
		r.partial = make(map[reassemblyKey[S, K]]*partial)
		r.sources = make(map[S]int)
	}
	if r.sources[source] >= r.PerSource {
		r.giveWay(func(s S) bool { return s == source })
	}
	if len(r.partial) >= r.Messages {
		r.giveWay(func(S) bool { return true })
	}
}

// giveWay forgets the oldest message of some sources.
func (r *Reassembler[S, K]) giveWay(of func(S) bool) {
	var oldest reassemblyKey[S, K]
	var since time.Duration = -1
	for k, p := range r.partial {
		if of(k.source) && (since < 0 || p.since < since) {
			oldest, since = k, p.since
		}
	}
	r.remove(oldest)
}

func (r *Reassembler[S, K]) remove(k reassemblyKey[S, K]) {
	if _, ok := r.partial[k]; !ok {
		return
	}
	delete(r.partial, k)
	if r.sources[k.source]--; r.sources[k.source] <= 0 {
		delete(r.sources, k.source)
	}
}

// Split cuts message into at most frame.MaxFragments parts of at most size
// bytes, at least one; nil if it does not fit.
func Split(message []byte, size int) [][]byte {
	count := max(1, (len(message)+size-1)/size)
	if count > frame.MaxFragments {
		return nil
	}
	parts := make([][]byte, 0, count)
	for len(message) > size {
		parts = append(parts, message[:size])
		message = message[size:]
	}
	return append(parts, message)
}
