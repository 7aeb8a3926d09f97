package store

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
)

// Entry describes a record without its body.
type Entry struct {
	ID   string
	Node string // accepted it first
	Time time.Time
	Size int // bytes of the body
}

// place is what stands under an id: where its record is, and what a list says of it, so that
// lists leave the log alone, which holds the bodies.
//
//	time i64 seconds and u32 nanoseconds, size u32, key in the log
type place struct {
	time time.Time
	size int
	key  []byte // valid while the transaction is
}

const placeHead = 8 + 4 + 4

func placeOf(r *Record) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.Time.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Time.Nanosecond()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Body)))
	return append(b, key(r.Origin, r.Seq)...)
}

func decodePlace(id, v []byte) (place, error) {
	b, err := unseal(id, v)
	if err != nil {
		return place{}, err
	}
	if len(b) <= placeHead {
		return place{}, damaged("place of %.*q", maxID, id)
	}
	seconds, nanos := int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint32(b[8:]))
	return place{time.Unix(seconds, nanos).UTC(), int(binary.BigEndian.Uint32(b[12:])), b[placeHead:]}, nil
}

// Entries returns up to max entries with ids after the given one, in order, and
// whether there are more.
func (s *Store) Entries(after string, max int) (entries []Entry, more bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(idBucket).Cursor()
		k, v := c.Seek([]byte(after))
		if k != nil && string(k) == after {
			k, v = c.Next()
		}
		for ; k != nil; k, v = c.Next() {
			if len(entries) == max {
				more = true
				return nil
			}
			p, err := decodePlace(k, v)
			if err != nil {
				return err
			}
			origin, _, err := splitKey(p.key)
			if err != nil {
				return err
			}
			if mutant.StalePage && time.Since(p.time) < time.Minute {
				continue
			}
			node, _ := validOrigin(origin)
			entries = append(entries, Entry{string(k), node, p.time, p.size})
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("list records: %w", err)
	}
	return entries, more, nil
}
