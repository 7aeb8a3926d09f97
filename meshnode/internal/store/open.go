package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// openTimeout bounds the wait for another process that has the file open.
const openTimeout = 5 * time.Second

// newSuffix is that of a file that is not whole yet.
const newSuffix = ".new"

// Open opens or makes the store in dir. A file that is damaged anywhere is a
// DamagedError.
func Open(dir, node string, notary Notary, clock func() time.Time) (*Store, error) {
	return openWith(dir, node, notary, clock, rand.Reader, bbolt.Options{Timeout: openTimeout, FreelistType: bbolt.FreelistMapType})
}

func openWith(dir, node string, notary Notary, clock func() time.Time, random io.Reader, o bbolt.Options) (*Store, error) {
	path := filepath.Join(dir, File)
	o.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		return openChecked(name, flag, mode, o.Timeout)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := create(path, node, random, o); err != nil {
			return nil, at(path, err)
		}
	}
	db, err := bbolt.Open(path, 0o600, &o)
	if err != nil {
		return nil, at(path, err)
	}
	s := &Store{
		path: path, db: db, node: node, notary: notary, clock: clock, vector: Vector{}, writing: make(chan struct{}, 1),
		signers: map[certificateID]signer{}, foreign: map[certificateID]signer{},
	}
	s.update = func(f func(*bbolt.Tx) error) error { return s.db.Update(f) }
	// Everything is read once. A node starts and answers reads also when its disk is full.
	if err := db.View(s.read); err != nil {
		return nil, errors.Join(at(path, err), db.Close())
	}
	// One that Recover left half made. Nobody else makes one while this is open.
	if err := removeIfThere(path + newSuffix); err != nil {
		return nil, errors.Join(at(path, err), db.Close())
	}
	s.weigh()
	return s, nil
}

// create makes an empty store under another name and gives it its own when it is
// whole: of a file that is cut off nobody could tell whether it ever held anything.
func create(path, node string, random io.Reader, o bbolt.Options) error {
	made := path + newSuffix
	if err := removeIfThere(made); err != nil {
		return err
	}
	db, err := bbolt.Open(made, 0o600, &o)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error { return initialize(tx, node, random) })
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return rename(made, path)
}

// at names the file in an error.
func at(path string, err error) error {
	if d, ok := errors.AsType[*DamagedError](err); ok {
		return &DamagedError{Path: path, What: d.What}
	}
	return fmt.Errorf("store %s: %w", path, err)
}

func initialize(tx *bbolt.Tx, node string, random io.Reader) error {
	for _, b := range [][]byte{logBucket, idBucket, metaBucket, proofBucket, certificateBucket} {
		if _, err := tx.CreateBucket(b); err != nil {
			return err
		}
	}
	var b [randomPart / 2]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return err
	}
	return tx.Bucket(metaBucket).Put(originKey, seal(originKey, []byte(node+"/"+hex.EncodeToString(b[:]))))
}

func (s *Store) read(tx *bbolt.Tx) error {
	log, ids, meta := tx.Bucket(logBucket), tx.Bucket(idBucket), tx.Bucket(metaBucket)
	proofs, certificates := tx.Bucket(proofBucket), tx.Bucket(certificateBucket)
	if log == nil || ids == nil || meta == nil || proofs == nil || certificates == nil {
		return damaged("a bucket is missing")
	}
	origin, err := unseal(originKey, meta.Get(originKey))
	if err != nil {
		return err
	}
	s.origin = string(origin)
	err = log.ForEach(func(k, v []byte) error {
		origin, seq, err := splitKey(k)
		if err != nil {
			return err
		}
		s.note(origin, seq)
		if _, err = unseal(k, v); err != nil {
			return err
		}
		p, err := decodeProof(k, proofs.Get(k))
		if err == nil && certificates.Get(p.signer[:]) == nil {
			err = damaged("no certificate of record %d of %s", seq, origin)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = certificates.ForEach(func(id, v []byte) error {
		_, err := unseal(id, v)
		return err
	})
	if err != nil {
		return err
	}
	err = ids.ForEach(func(id, v []byte) error {
		p, err := decodePlace(id, v)
		if err != nil {
			return err
		}
		if log.Get(p.key) == nil {
			return damaged("no record under id %q", id)
		}
		s.count++
		return nil
	})
	if err == nil && s.count == 0 && len(s.vector) > 0 {
		err = damaged("no ids")
	}
	return err
}
