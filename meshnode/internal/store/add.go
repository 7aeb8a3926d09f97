package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// Limits of what a record from elsewhere may hold, in bytes.
const (
	maxID     = 128
	maxName   = 255
	maxOrigin = maxName + 17
	maxBody   = 64 << 10
)

// ErrInvalid says that a record from another store cannot be one.
var ErrInvalid = errors.New("invalid record")

func (s *Store) validate(r *Record) error {
	switch {
	case r.ID == "" || len(r.ID) > maxID, len(r.Body) > maxBody,
		r.Node == "" || len(r.Node) > maxName, r.Time.IsZero(),
		r.Origin == "" || len(r.Origin) > maxOrigin || strings.ContainsRune(r.Origin, 0):
		return fmt.Errorf("%w %.*q of %.*q", ErrInvalid, maxID, r.ID, maxOrigin, r.Origin)
	case r.Seq == 0, r.Origin == s.origin && !s.vector[s.origin].holds(r.Seq):
		return fmt.Errorf("%w: %q was never accepted here under number %d", ErrInvalid, r.ID, r.Seq)
	}
	return nil
}

// Add keeps records of other stores and returns how many of them were new. When
// it returns without an error they are on disk. One invalid record refuses all.
func (s *Store) Add(records ...Record) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fresh []*Record
	for i := range records {
		r := &records[i]
		if err := s.validate(r); err != nil {
			return 0, err
		}
		twin := func(f *Record) bool { return f.Origin == r.Origin && f.Seq == r.Seq }
		if !s.vector[r.Origin].holds(r.Seq) && !slices.ContainsFunc(fresh, twin) {
			fresh = append(fresh, r)
		}
	}
	if len(fresh) == 0 {
		return 0, nil
	}
	ids := 0
	err := s.commit(func(tx *bbolt.Tx) error {
		for _, r := range fresh {
			old, err := find(tx, r.ID)
			switch {
			case errors.Is(err, ErrNotFound):
				ids++
				err = write(tx, r)
			case err == nil && earlier(r, &old):
				err = write(tx, r)
			case err == nil:
				err = keep(tx, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("add %d records: %w", len(fresh), err)
	}
	for _, r := range fresh {
		s.note(r.Origin, r.Seq)
	}
	s.count += ids
	return len(fresh), nil
}

// earlier decides which of two records under one id is the answer.
func earlier(a, b *Record) bool {
	if !a.Time.Equal(b.Time) {
		return a.Time.Before(b.Time)
	}
	return a.Origin < b.Origin
}

// write puts r into the log and makes it the answer for its id.
func write(tx *bbolt.Tx, r *Record) error {
	if err := keep(tx, r); err != nil {
		return err
	}
	id := []byte(r.ID)
	return tx.Bucket(idBucket).Put(id, seal(id, key(r.Origin, r.Seq)))
}

// keep puts r into the log.
func keep(tx *bbolt.Tx, r *Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	k := key(r.Origin, r.Seq)
	return tx.Bucket(logBucket).Put(k, seal(k, b))
}
