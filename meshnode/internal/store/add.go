package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

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

// validate checks the form of a record, and reports whether its number is known.
func (s *Store) validate(r *Record) (known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node, ok := validOrigin(r.Origin)
	switch {
	// Of one moment there is one encoding: that of UTC.
	case !ok, r.Node != node, !validID(r.ID), len(r.Body) > maxBody, r.Time.IsZero(), r.Time.Location() != time.UTC:
		return false, fmt.Errorf("%w %.*q of %.*q", ErrInvalid, maxID, r.ID, maxOrigin, r.Origin)
	case r.Seq == 0, r.Seq > maxSeq, r.Origin == s.origin && !s.vector[s.origin].holds(r.Seq):
		return false, fmt.Errorf("%w: %q was never accepted here under number %d", ErrInvalid, r.ID, r.Seq)
	}
	return s.vector[r.Origin].holds(r.Seq), nil
}

// held returns the record of the log under r's number.
func (s *Store) held(r *Record) (*Record, error) {
	held := new(Record)
	return held, s.view(func(tx *bbolt.Tx) error {
		k := key(r.Origin, r.Seq)
		return decodeRecord(k, tx.Bucket(logBucket).Get(k), held)
	})
}

// examine checks that a record can be one and is its origin's. What is held already is not
// verified again.
func (s *Store) examine(r *Record) error {
	known, err := s.validate(r)
	if err != nil {
		return err
	}
	if known {
		held, err := s.held(r)
		if err != nil || held.statement() == r.statement() {
			return err
		}
	}
	return s.authenticate(r)
}

// choose returns whether a record that was examined is to be kept, and an error if it is
// refused. What has been held or chosen under its number stays; s.writing is full.
func (s *Store) choose(r *Record, chosen []*Record) (fresh bool, err error) {
	var first *Record
	if s.vector[r.Origin].holds(r.Seq) {
		if first, err = s.held(r); err != nil {
			return false, err
		}
	} else if i := slices.IndexFunc(chosen, func(f *Record) bool { return f.Origin == r.Origin && f.Seq == r.Seq }); i >= 0 {
		first = chosen[i]
	}
	if first != nil && first.statement() != r.statement() {
		return false, fmt.Errorf("%w: %q and %q are record %d of %s", ErrTwice, first.ID, r.ID, r.Seq, r.Origin)
	}
	return first == nil, nil
}

// Refusals says which of several records were not taken, by their index, and why.
type Refusals map[int]error

func (r Refusals) Error() string { return errors.Join(r.Unwrap()...).Error() }

// Unwrap returns the reasons in the order of the records.
func (r Refusals) Unwrap() []error {
	var all []error
	for _, i := range slices.Sorted(maps.Keys(r)) {
		all = append(all, r[i])
	}
	return all
}

// Add keeps records of other stores and returns how many of them were new. Those that it
// refuses are named by an error of type Refusals; with it, or without an error, the others
// are on disk. With any other error none is.
func (s *Store) Add(records ...Record) (int, error) {
	refused := Refusals{}
	for i := range records {
		if err := s.examine(&records[i]); err != nil {
			refused[i] = err
		}
	}
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	var fresh []*Record
	for i := range records {
		r := &records[i]
		if refused[i] != nil {
			continue
		}
		switch keep, err := s.choose(r, fresh); {
		case err != nil:
			refused[i] = err
		case keep:
			fresh = append(fresh, r)
		}
	}
	if err := s.keepAll(fresh); err != nil {
		return 0, err
	}
	if len(refused) > 0 {
		return len(fresh), refused
	}
	return len(fresh), nil
}

// keepAll puts records that are not here on the disk; s.writing is full.
func (s *Store) keepAll(fresh []*Record) error {
	if len(fresh) == 0 {
		return nil
	}
	ids := 0
	err := s.commit(func(tx *bbolt.Tx) error {
		for _, r := range fresh {
			if mutant.ReplaceOnMerge {
				r.Body = fresh[0].Body
			}
			old, err := find(tx, r.ID)
			switch {
			case errors.Is(err, ErrNotFound):
				ids++
				err = write(tx, r)
				if mutant.DoubleOnMerge && err == nil {
					twice := []byte(r.ID + "@" + r.Node)
					err = tx.Bucket(idBucket).Put(twice, seal(twice, placeOf(r)))
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
		return fmt.Errorf("add %d records: %w", len(fresh), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range fresh {
		s.note(r.Origin, r.Seq)
	}
	s.count += ids
	return nil
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
	return tx.Bucket(idBucket).Put(id, seal(id, placeOf(r)))
}

// keep puts r into the log, and its proof beside it.
func keep(tx *bbolt.Tx, r *Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	k := key(r.Origin, r.Seq)
	if err := keepProof(tx, k, &r.proof); err != nil {
		return err
	}
	return tx.Bucket(logBucket).Put(k, seal(k, b))
}
