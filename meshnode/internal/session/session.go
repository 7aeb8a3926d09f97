package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/pmtu"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// sealOverhead is the size in bytes of an AES-GCM tag.
const sealOverhead = 16

// basePart is the largest part of a message in one sealed frame that every path
// carries.
const basePart = pmtu.Base - frame.HeaderLen - sealOverhead

// MaxMessage is the largest payload in bytes that Send takes: what fits into
// frame.MaxFragments sealed frames on every path.
const MaxMessage = frame.MaxFragments * basePart

// session is one session with one peer. Fields without a comment on locking
// never change; the Manager's lock guards the rest unless said otherwise.
type session struct {
	id          frame.SessionID
	generation  uint64
	role        role // ours
	peer        *peer
	credential  *identity.Credential // ours
	certificate *identity.Certificate
	reason      string
	anew        bool // the peer knew of no session although we did: it has started again
	established time.Time
	expires     time.Duration // ktime
	rekeyAt     time.Duration // ktime

	seal, open     cipher.AEAD
	sealIV, openIV [ivSize]byte
	sealHeader     frame.Key
	openHeader     frame.Key

	sending       sync.Mutex    // see inOrder
	sequence      atomic.Uint64 // last one sealed
	verifiedUntil atomic.Int64  // ktime; written under the Manager's lock
	revoked       atomic.Bool   // set under the Manager's lock, never cleared
	confirmed     atomic.Bool   // the peer is known to hold the keys
	sealed        window        // of sealed frames; locks itself
	signatures    window        // of signature frames; they come by another way

	assembly struct {
		sync.Mutex
		transport.Reassembler[struct{}, uint64] // by first sequence
	}

	answers    [attest.Low + 1]answering // by priority
	proofs     answering                 // with proofs; see demandProof
	challenges []*challenge              // outstanding, oldest first
	epoch      uint64                    // number of the last challenge
	challenge  time.Duration             // the next critical one
	slot       time.Duration             // the grid's time around which it lies
	reattest   time.Duration             // the next one of low priority, 0 if there are none
	doubted    bool                      // its peer was unreachable, and has not proven itself since
	backoff    int                       // challenges in a row that timed out
	timedOut   time.Duration             // ktime of the last that counted for backoff
	retire     time.Duration             // a replaced session is deleted then
}

// The bounds of sealed messages in reassembly, per session.
const (
	assemblyMessages = 32
	assemblyAge      = 2 * time.Second
)

func newSession(k *keys, r role) (*session, error) {
	s := &session{id: k.id, role: r}
	out, in := &k.sends[r], &k.sends[r.other()]
	s.sealIV, s.openIV = out.iv, in.iv
	s.sealHeader, s.openHeader = out.header, in.header
	var err error
	if s.seal, err = newAEAD(out.key[:]); err != nil {
		return nil, err
	}
	if s.open, err = newAEAD(in.key[:]); err != nil {
		return nil, err
	}
	s.assembly.Messages, s.assembly.PerSource, s.assembly.Age = assemblyMessages, assemblyMessages, assemblyAge
	return s, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("session cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// nonceOf makes the nonce of a frame as TLS 1.3 does (RFC 8446, section 5.3):
// the sequence number, which never repeats under a key, xor the IV.
func nonceOf(iv [ivSize]byte, sequence uint64) [ivSize]byte {
	tail := iv[ivSize-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^sequence)
	return iv
}

// inOrder makes the caller, until it calls done, the only one that sends the
// session's frames straight to the peer: they leave in the order of their sequence
// numbers, or one writer that is held up would make the others' frames move the
// peer's replay window past its own. Frames by relay, which no kernel's window sees,
// do without: they are sent on a second session, and two sessions may be each
// other's relays.
func (s *session) inOrder(way path) (done func()) {
	if way.relay != nil {
		return func() {}
	}
	s.sending.Lock()
	return s.sending.Unlock
}

// reserve takes n consecutive sequence numbers and returns the first; false
// when the session has sealed all it may.
func (s *session) reserve(n int, limit uint64) (uint64, bool) {
	last := s.sequence.Add(uint64(n))
	return last - uint64(n) + 1, last <= limit && last < math.MaxUint64/2
}

// sealFrame appends the sealed frame of part to dst[:0].
func (s *session) sealFrame(dst []byte, h frame.Header, part []byte) []byte {
	h.Session, h.Length = s.id, uint16(len(part)+sealOverhead)
	dst = dst[:frame.HeaderLen]
	h.Put(dst, s.sealHeader)
	nonce := nonceOf(s.sealIV, h.Sequence)
	return s.seal.Seal(dst, nonce[:], part, dst)
}

// openFrame opens the sealed frame b into dst[:0].
func (s *session) openFrame(dst []byte, h frame.Header, b []byte) ([]byte, error) {
	nonce := nonceOf(s.openIV, h.Sequence)
	return s.open.Open(dst[:0], nonce[:], b[frame.HeaderLen:], b[:frame.HeaderLen])
}

// tagged reports whether the header of the frame b carries the peer's tag.
func (s *session) tagged(b []byte) bool {
	want := binary.BigEndian.AppendUint64(nil, frame.Tag(b, s.openHeader))
	return hmac.Equal(want, b[frame.TagOffset:frame.HeaderLen])
}

// join returns the whole message when the frame of part completes it.
func (s *session) join(now time.Duration, h frame.Header, part []byte) ([]byte, bool) {
	if h.Fragments == 1 {
		return part, true
	}
	s.assembly.Lock()
	defer s.assembly.Unlock()
	return s.assembly.Add(now, struct{}{}, h.Sequence-uint64(h.Fragment), h.Fragment, h.Fragments, part)
}

// live reports whether the session may still be used at time now.
func (s *session) live(now time.Duration) bool {
	return s != nil && !s.revoked.Load() && now < s.expires
}

// verified reports whether data may flow at time now.
func (s *session) verified(now time.Duration) bool {
	return s.live(now) && time.Duration(s.verifiedUntil.Load()) > now
}

// newer orders the sessions of two peers alike on both sides: by generation, and
// where two handshakes crossed by id, so that both settle on the same one.
func (s *session) newer(o *session) bool {
	if s.generation != o.generation {
		return s.generation > o.generation
	}
	return string(s.id[:]) > string(o.id[:])
}
