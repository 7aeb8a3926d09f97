package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
)

// Limits of what a record from elsewhere may hold, in bytes.
const (
	maxID     = 128
	maxOrigin = 63 + 1 + randomPart
	maxBody   = 64 << 10
)

// ErrInvalid says that a record from another store cannot be one.
var ErrInvalid = errors.New("invalid record")

func (s *Store) validate(r *Record) error {
	node, ok := validOrigin(r.Origin)
	switch {
	case !ok, r.Node != node, !validID(r.ID), len(r.Body) > maxBody, r.Time.IsZero():
		return fmt.Errorf("%w %.*q of %.*q", ErrInvalid, maxID, r.ID, maxOrigin, r.Origin)
	case r.Seq == 0, r.Seq > maxSeq, r.Origin == s.origin && !s.vector[s.origin].holds(r.Seq):
		return fmt.Errorf("%w: %q was never accepted here under number %d", ErrInvalid, r.ID, r.Seq)
	}
	return nil
}

// twin returns an error if another record than r stands under its number: the first one
// stays.
func (s *Store) twin(r *Record) error {
	var held Record
	err := s.db.View(func(tx *bbolt.Tx) error {
		k := key(r.Origin, r.Seq)
		return decodeRecord(k, tx.Bucket(logBucket).Get(k), &held)
	})
	if err == nil && held.digest() != r.digest() {
		err = fmt.Errorf("%w: another one than %q is record %d of %s", ErrInvalid, r.ID, r.Seq, r.Origin)
	}
	return err
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
		if s.vector[r.Origin].holds(r.Seq) {
			if err := s.twin(r); err != nil {
				return 0, err
			}
			continue
		}
		i := slices.IndexFunc(fresh, func(f *Record) bool { return f.Origin == r.Origin && f.Seq == r.Seq })
		switch {
		case i < 0:
			fresh = append(fresh, r)
		case fresh[i].digest() != r.digest():
			return 0, fmt.Errorf("%w: two records %d of %s", ErrInvalid, r.Seq, r.Origin)
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
				if mutant.DoubleOnMerge && err == nil {
					twice := []byte(r.ID + "@" + r.Node)
					err = tx.Bucket(idBucket).Put(twice, seal(twice, key(r.Origin, r.Seq)))
				}
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
