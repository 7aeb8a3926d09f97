package session

import "sync"

// windowSize is how many sequence numbers below the highest one userspace
// remembers. It is wider than the kernel's window because frames pass through
// queues after the kernel has ordered them.
const windowSize = 4096 - 64

// window rejects sequence numbers that were seen or are too old. It is the ring
// of words of RFC 6479: advancing clears words instead of shifting bits.
type window struct {
	mu   sync.Mutex
	top  uint64
	bits [64]uint64
}

// accept marks seq and reports whether it was new; 0 never is.
// first reports whether seq is the highest so far.
func (w *window) accept(seq uint64) (ok, first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	const words = uint64(len(w.bits))
	if seq == 0 || w.top >= windowSize && seq <= w.top-windowSize {
		return false, false
	}
	if seq > w.top {
		for i := range min(seq/64-w.top/64, words) {
			w.bits[(w.top/64+1+i)%words] = 0
		}
		w.top, first = seq, true
	}
	word, bit := &w.bits[seq/64%words], uint64(1)<<(seq%64)
	if *word&bit != 0 {
		return false, false
	}
	*word |= bit
	return true, first
}
