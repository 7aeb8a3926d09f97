package verifier

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/dchest/siphash"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// The independent SipHash that the programs are compared with gives the
// published vectors: the one in appendix A of the paper and the 32-byte one of
// the authors' reference implementation, whose length is that of a header.
func TestSipHashVectors(t *testing.T) {
	const k0, k1 = 0x0706050403020100, 0x0f0e0d0c0b0a0908
	in := make([]byte, 32)
	for i := range in {
		in[i] = byte(i)
	}
	for n, want := range map[int]uint64{15: 0xa129ca6149be45e5, 32: 0x7127512f72f27cce} {
		if got := siphash.Hash(k0, k1, in[:n]); got != want {
			t.Errorf("%d bytes: %#x, want %#x", n, got, want)
		}
	}
}

// The programs compute the same tag as that SipHash for random keys and headers.
func TestSipHashAgreement(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	both(t, Config{}, func(t *testing.T, r *runner) {
		for range 500 {
			var id frame.SessionID
			var key frame.Key
			for i := range id {
				id[i], key[i] = byte(random.Uint32()), byte(random.Uint32())
			}
			r.put(t, id, key)
			b := make([]byte, frame.HeaderLen+random.IntN(64))
			(&frame.Header{
				Type: frame.ClassControl | frame.Type(random.IntN(16)), Length: uint16(len(b) - frame.HeaderLen),
				Fragment: uint8(random.IntN(8)), Fragments: uint8(8 + random.IntN(9)),
				Session: id, Sequence: 1 + random.Uint64N(MaxSequence),
			}).Put(b, key)
			k0, k1 := binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])
			binary.BigEndian.PutUint64(b[frame.TagOffset:], siphash.Hash(k0, k1, b[:frame.TagOffset])+1)
			r.expect(t, lab.Packet{Payload: b}.Bytes(), "bad_tag")
			binary.BigEndian.PutUint64(b[frame.TagOffset:], siphash.Hash(k0, k1, b[:frame.TagOffset]))
			r.expect(t, lab.Packet{Payload: b}.Bytes(), "pass")
			r.remove(t, id)
		}
	})
}
