package store

import (
	"bytes"
	"crypto/rand"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

const (
	testPage = 4096
	sector   = 512 // what a disk writes whole or not at all
)

// tear returns what a disk may hold of a file when the machine stopped within
// the write that made after of before. bbolt writes its data pages, waits for
// the disk, and writes a head (page 0 or 1), so either any part of the data is
// there and the head is old, or all data is there and the head is old, new or
// damaged. The flag says that the whole write is there; it depends on the seed
// alone, the rest also on where bbolt put its pages, which follows no seed.
func tear(seed uint64, before, after []byte) ([]byte, bool) {
	const heads = 2 * testPage
	rng := mrand.New(mrand.NewPCG(seed, 1))
	kind := rng.IntN(6)
	grown := bytes.Clone(before)
	if len(after) > len(before) && rng.IntN(4) > 0 { // the new length reaches the disk on its own
		grown = append(grown, make([]byte, len(after)-len(before))...)
	}
	if kind < 3 {
		for at := heads; at < len(grown); at += testPage {
			page := grown[at:min(at+testPage, len(grown))]
			tearPage(rng, page, after[at:at+len(page)])
		}
		return grown, false
	}
	torn := bytes.Clone(after)
	switch kind {
	case 3:
		return torn, true
	case 4:
		copy(torn[:heads], before)
	case 5:
		for at := 0; at < heads; at += testPage {
			if !bytes.Equal(torn[at:at+testPage], before[at:at+testPage]) {
				garble(rng, torn[at:at+sector])
			}
		}
	}
	return torn, false
}

// tearPage writes nothing, all, or some sectors of a page, or garbage.
func tearPage(rng *mrand.Rand, page, after []byte) {
	if bytes.Equal(page, after) {
		return
	}
	switch rng.IntN(3) {
	case 0:
		return
	case 1:
		copy(page, after)
		return
	}
	for at := 0; at+sector <= len(page); at += sector {
		switch rng.IntN(4) {
		case 0: // not reached
		case 1:
			garble(rng, page[at:at+sector])
		default:
			copy(page[at:at+sector], after[at:])
		}
	}
}

func garble(rng *mrand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// TestTornWriteIsUndone: whatever is left of a last write, the store opens with
// all that was acknowledged before, and the write is there whole or not at all.
func TestTornWriteIsUndone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, File)
	whole := 0
	for seed := range uint64(200) {
		rng := mrand.New(mrand.NewPCG(seed, 1))
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		s := openSimulated(t, dir, "a")
		n := 1 + rng.IntN(40)
		for i := range n {
			put(t, s, string(rune('A'+i)), string(make([]byte, rng.IntN(3000))))
		}
		before := readFile(t, path)
		put(t, s, "last", string(make([]byte, rng.IntN(9000))))
		after := readFile(t, path)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		torn, complete := tear(seed, before, after)
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		s = openSimulated(t, dir, "a")
		want := n
		if complete {
			want, whole = n+1, whole+1
		}
		if s.Len() != want {
			t.Fatalf("seed %d: %d records, want %d", seed, s.Len(), want)
		}
		put(t, s, "next", "")
		if s.Len() != want+1 {
			t.Errorf("seed %d: nothing can be written", seed)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if whole == 0 || whole == 200 {
		t.Errorf("%d of 200 writes were there whole", whole)
	}
}

var simulated = bbolt.Options{NoSync: true, NoGrowSync: true, FreelistType: bbolt.FreelistMapType, PageSize: testPage}

// openSimulated opens a store whose writes do not wait for the disk: what tear
// leaves of them stands in for it.
func openSimulated(t *testing.T, dir, node string) *Store {
	t.Helper()
	s, err := openWith(dir, node, stamp(node), time.Now, rand.Reader, simulated)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStoreWaitsForTheDisk: the simulation's shortcuts are not in the real one.
func TestStoreWaitsForTheDisk(t *testing.T) {
	if s := open(t, t.TempDir(), "a"); s.db.NoSync || s.db.NoGrowSync {
		t.Error("the store does not wait for the disk")
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
