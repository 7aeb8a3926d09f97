package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// trialKey is where Try writes.
var trialKey = []byte("trial")

// Try writes and flushes twice as much as the largest record takes, to see how the disk does: one
// that has no room for that is full, and where it had, the next record has.
func (s *Store) Try() error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	return s.commit(func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(trialKey, make([]byte, 2*encodedSize(maxBody)))
	})
}

// Recover makes the store write again after FaultError: all that can be read goes into a new
// file, is flushed, compared with what was acknowledged, and takes the file's place. What a
// failed commit left in the kernel's memory is either in the new file for good, or
// nowhere. Meanwhile reads go on. Without such a fault it does nothing.
//
// If something is missing or damaged, it is FaultLost, and the old file stays.
func (s *Store) Recover() error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	s.mu.Lock()
	suspect, lost, why, held := s.disk.suspect, s.disk.Fault == FaultLost, s.disk.Err, s.count
	s.mu.Unlock()
	switch {
	case !suspect:
		return nil
	case lost: // it does not come back
		return why
	}
	fresh, err := s.renew(held)
	if err != nil {
		if _, damaged := errors.AsType[*DamagedError](err); damaged {
			s.mu.Lock()
			s.disk.Fault, s.disk.Err = FaultLost, err
			s.mu.Unlock()
		}
		return fmt.Errorf("recover: %w", err)
	}
	s.handle.Lock()
	old := s.db
	s.db = fresh.db
	s.handle.Unlock()
	s.mu.Lock()
	s.vector, s.count = fresh.vector, fresh.count
	s.disk.suspect = false
	s.disk.Fault, s.disk.Err = "", nil
	s.mu.Unlock()
	s.weigh()
	// Nothing more is read from it, and nothing was written to it since it failed.
	_ = old.Close()
	return nil
}

// renew makes the new file, with at least as many ids as are held, and gives it its name.
func (s *Store) renew(held int) (fresh *Store, err error) {
	made := s.path + newSuffix
	if err := removeIfThere(made); err != nil {
		return nil, err
	}
	// By plain reads: what cannot be read through a mapping ends the process.
	if err := s.legible(); err != nil {
		return nil, err
	}
	// Flushed once, when it is whole.
	db, err := bbolt.Open(made, 0o600, &bbolt.Options{Timeout: openTimeout, FreelistType: bbolt.FreelistMapType, NoSync: true, NoGrowSync: true})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close(), removeIfThere(made))
		}
	}()
	if err := bbolt.Compact(db, s.db, copied); err != nil {
		return nil, err
	}
	fresh = &Store{path: s.path, node: s.node, clock: s.clock, db: db, vector: Vector{}}
	if err := db.View(fresh.read); err != nil {
		return nil, at(s.path, err)
	}
	if fresh.origin != s.origin || fresh.count < held || fresh.vector.lacks(&summary{Have: s.vector}, nil) {
		return nil, at(s.path, damaged("records that were acknowledged are gone"))
	}
	if err := db.Sync(); err != nil {
		return nil, err
	}
	if err := rename(made, s.path); err != nil {
		return nil, err
	}
	db.NoSync, db.NoGrowSync = false, false
	return fresh, nil
}

// legible checks every page that the file in use has.
func (s *Store) legible() (err error) {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := checkPages(f, st.Size()); err != nil {
		return at(s.path, err)
	}
	return nil
}

// copied is how many bytes are copied in one transaction.
const copied = 1 << 20

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// rename gives a file its name for good: its directory is flushed.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
