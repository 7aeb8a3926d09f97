package route

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// proof is what an originator reveals with a sequence number: the preimage of what it
// revealed with the one before. 128 bits are what an attacker has to search before the
// originator's next message, or its next chain, makes it worthless.
type proof [16]byte

// chainLength is how many sequence numbers one signature vouches for; it bounds what a
// receiver hashes for one message.
const chainLength = 4096

// chain is a hash chain: value(n-1) = SHA-256(salt, n, value(n)), cut to a proof. Whoever
// knows value(n) can compute the values of all smaller numbers, and of no larger one.
type chain struct {
	salt   salt
	values []proof // by sequence number; 0 is the anchor's
}

// salt keeps the chains of different nodes and processes apart.
type salt [sha256.Size]byte

func saltOf(originator string, incarnation uint64) salt {
	b := append([]byte("x0tta6bl4-mesh/1 route chain\x00"), originator...)
	return sha256.Sum256(binary.BigEndian.AppendUint64(append(b, 0), incarnation))
}

// before returns the value of seq-1 from that of seq.
func (s *salt) before(seq uint32, v proof) proof {
	var b [len(s) + 4 + len(v)]byte
	copy(b[:], s[:])
	binary.BigEndian.PutUint32(b[len(s):], seq)
	copy(b[len(s)+4:], v[:])
	sum := sha256.Sum256(b[:])
	return proof(sum[:])
}

// down returns the value of a smaller number from that of seq.
func (s *salt) down(seq uint32, v proof, to uint32) proof {
	for ; seq > to; seq-- {
		v = s.before(seq, v)
	}
	return v
}

func newChain(originator string, incarnation uint64) *chain {
	c := &chain{salt: saltOf(originator, incarnation), values: make([]proof, chainLength+1)}
	rand.Read(c.values[chainLength][:]) // never fails (crypto/rand since Go 1.24)
	for n := uint32(chainLength); n > 0; n-- {
		c.values[n-1] = c.salt.before(n, c.values[n])
	}
	return c
}

// revealed is what a node knows of another one's chain.
type revealed struct {
	anchor      []byte // as it came, to be passed on
	incarnation uint64
	salt        salt
	seq         uint32 // the newest number that was proven
	value       proof
}

// proves checks the proof of a sequence number and notes it if it is the newest. For an
// older one it returns the proof that belongs to it, whatever came.
func (r *revealed) proves(seq uint32, p proof) (proof, bool) {
	if seq <= r.seq {
		return r.salt.down(r.seq, r.value, seq), true
	}
	if seq > chainLength || r.salt.down(seq, p, r.seq) != r.value {
		return p, false
	}
	r.seq, r.value = seq, p
	return p, true
}
