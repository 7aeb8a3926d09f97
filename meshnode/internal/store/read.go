package store

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/bbolt"
)

// Get returns the record of an id.
func (s *Store) Get(id string) (Record, error) {
	var r Record
	err := s.db.View(func(tx *bbolt.Tx) (err error) {
		r, err = find(tx, id)
		return err
	})
	if err != nil {
		return Record{}, fmt.Errorf("record %q: %w", id, err)
	}
	return r, nil
}

// find returns the record that is the answer for an id.
func find(tx *bbolt.Tx, id string) (r Record, err error) {
	v := tx.Bucket(idBucket).Get([]byte(id))
	if v == nil {
		return r, ErrNotFound
	}
	k, err := unseal([]byte(id), v)
	if err != nil {
		return r, err
	}
	return r, decodeRecord(k, tx.Bucket(logBucket).Get(k), &r)
}

// List returns up to max records with ids after the given one, in order.
func (s *Store) List(after string, max int) ([]Record, error) {
	var records []Record
	err := s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(idBucket).Cursor()
		k, v := c.Seek([]byte(after))
		if k != nil && string(k) == after {
			k, v = c.Next()
		}
		for ; k != nil && len(records) < max; k, v = c.Next() {
			place, err := unseal(k, v)
			if err != nil {
				return err
			}
			var r Record
			if err := decodeRecord(place, tx.Bucket(logBucket).Get(place), &r); err != nil {
				return err
			}
			records = append(records, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	return records, nil
}

// missing returns up to max records that a store with the given summary lacks,
// of the origins that the summary covers.
func (s *Store) missing(peer *summary, max int) ([]Record, error) {
	mine := s.Vector()
	var records []Record
	err := s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(logBucket).Cursor()
		for _, origin := range slices.Sorted(maps.Keys(mine)) {
			if !peer.covers(origin) {
				continue
			}
			for _, span := range mine[origin].without(peer.Have[origin]) {
				k, v := c.Seek(key(origin, span[0]))
				for seq := span[0]; seq <= span[1] && len(records) < max; seq++ {
					if !bytes.Equal(k, key(origin, seq)) {
						return damaged("record %d of %s is gone", seq, origin)
					}
					var r Record
					if err := decodeRecord(k, v, &r); err != nil {
						return err
					}
					records = append(records, r)
					k, v = c.Next()
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("missing records: %w", err)
	}
	return records, nil
}
