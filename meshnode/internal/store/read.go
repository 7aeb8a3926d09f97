package store

import (
	"fmt"

	"go.etcd.io/bbolt"
)

// Get returns the record of an id.
func (s *Store) Get(id string) (Record, error) {
	var r Record
	err := s.db.View(func(tx *bbolt.Tx) error {
		k := tx.Bucket(idBucket).Get([]byte(id))
		if k == nil {
			return ErrNotFound
		}
		return decodeRecord(tx.Bucket(logBucket).Get(k), &r)
	})
	if err != nil {
		return Record{}, fmt.Errorf("record %q: %w", id, err)
	}
	return r, nil
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
			var r Record
			if err := decodeRecord(tx.Bucket(logBucket).Get(v), &r); err != nil {
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

// Missing returns up to max records that a store with the given vector lacks.
func (s *Store) Missing(have Vector, max int) ([]Record, error) {
	mine := s.Vector()
	var records []Record
	err := s.db.View(func(tx *bbolt.Tx) error {
		for origin, high := range mine {
			c := tx.Bucket(logBucket).Cursor()
			for k, v := c.Seek(key(origin, have[origin]+1)); k != nil && len(records) < max; k, v = c.Next() {
				o, seq, err := splitKey(k)
				if err != nil {
					return err
				}
				if o != origin || seq > high {
					break
				}
				var r Record
				if err := decodeRecord(v, &r); err != nil {
					return err
				}
				records = append(records, r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("missing records: %w", err)
	}
	return records, nil
}
