package store

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
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

// pageBytes bounds what one page of entries may have to look through: as many records
// as that fill, and one at least. Entries are small; what they describe is not.
const pageBytes = 8 << 20

// Entries returns up to max entries with ids after the given one, in order, and
// whether there are more. A page may hold fewer although there are. Bodies stay where
// they are, in the mapped file.
func (s *Store) Entries(after string, max int) (entries []Entry, more bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		c, log := tx.Bucket(idBucket).Cursor(), tx.Bucket(logBucket)
		k, v := c.Seek([]byte(after))
		if k != nil && string(k) == after {
			k, v = c.Next()
		}
		looked := 0
		for ; k != nil; k, v = c.Next() {
			if len(entries) == max || looked >= pageBytes {
				more = true
				return nil
			}
			place, err := unseal(k, v)
			if err != nil {
				return err
			}
			sealed := log.Get(place)
			looked += len(sealed)
			b, err := unseal(place, sealed)
			if err != nil {
				return err
			}
			var r struct {
				ID   string    `json:"id"`
				Node string    `json:"node"`
				Time time.Time `json:"time"`
				Body bodySize  `json:"body"`
			}
			if err := json.Unmarshal(b, &r); err != nil {
				return damaged("record %.*q: %v", maxOrigin, place, err)
			}
			if mutant.StalePage && time.Since(r.Time) < time.Minute {
				continue
			}
			entries = append(entries, Entry{r.ID, r.Node, r.Time, int(r.Body)})
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("list records: %w", err)
	}
	return entries, more, nil
}

// bodySize is the size of a body that is left unread where it stands, in base64.
type bodySize int

// UnmarshalJSON implements json.Unmarshaler.
func (n *bodySize) UnmarshalJSON(b []byte) error {
	b = bytes.Trim(b, `"`)
	if string(b) == "null" {
		*n = 0
		return nil
	}
	unpadded := bytes.TrimRight(b, "=")
	*n = bodySize(base64.RawStdEncoding.DecodedLen(len(unpadded)))
	return nil
}
