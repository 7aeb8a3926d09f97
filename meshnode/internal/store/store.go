package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// Record is one entry of the set.
type Record struct {
	ID string `json:"id"`
	// Node accepted the record first; Origin names its store, which is another
	// one if the node lost its disk.
	Node   string    `json:"node"`
	Origin string    `json:"origin"`
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Body   []byte    `json:"body"`

	proof proof // empty in what was read for clients
}

// ErrConflict says that an id is taken by other content.
var ErrConflict = errors.New("this id holds other content")

// ErrNotFound says that no record has the id.
var ErrNotFound = errors.New("no such record")

// Every value ends with a checksum; see seal.
var (
	logBucket  = []byte("log")  // origin, 0, sequence u64 -> record as JSON
	idBucket   = []byte("id")   // id -> place
	metaBucket = []byte("meta") // "origin", "knowledge"

	proofBucket       = []byte("proof")       // key in log -> certificate id [32], signature
	certificateBucket = []byte("certificate") // id -> certificate

	originKey = []byte("origin")
	knowledge = []byte("knowledge")
)

// File is the name of the database in the data directory.
const File = "records.db"

// Store is safe for concurrent use.
type Store struct {
	path   string
	node   string
	notary Notary
	origin string
	clock  func() time.Time
	// update runs a transaction; tests make it fail.
	update func(func(*bbolt.Tx) error) error

	quota atomic.Int64
	bytes atomic.Int64 // in use after the last commit

	// writing is full while a commit is under way, of which there is one at a time.
	writing chan struct{}
	// handle guards db, which Recover replaces.
	handle sync.RWMutex
	db     *bbolt.DB

	// mu guards what follows, and is never held while the disk works: a slow one keeps
	// nobody waiting who only asks. What is here changes only under writing, too.
	mu      sync.Mutex
	vector  Vector
	count   int
	disk    diskState
	refuses error // why no records are taken from clients; nil if they are

	signing sync.Mutex
	signers map[certificateID]signer // as trust has it
	foreign map[certificateID]signer // of unknown roots
	trust   any
}

// view runs a transaction that reads.
func (s *Store) view(f func(*bbolt.Tx) error) error {
	s.handle.RLock()
	defer s.handle.RUnlock()
	return s.db.View(f)
}

// note adds a sequence that is not there to the vector; s.mu is held or s is not
// shared yet.
func (s *Store) note(origin string, seq uint64) {
	s.vector[origin] = s.vector[origin].with(seq)
}

// Put accepts content under an id and returns its record, with its whole proof, once it is on disk.
// The same content again returns the record that is there and false.
func (s *Store) Put(id string, body []byte) (Record, bool, error) {
	if err := s.refusal(); err != nil {
		return Record{}, false, fmt.Errorf("record %q: %w", id, err)
	}
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	if err := s.refusal(); err != nil { // meanwhile
		return Record{}, false, fmt.Errorf("record %q: %w", id, err)
	}
	var r Record
	added := false
	err := s.commit(func(tx *bbolt.Tx) error {
		var err error
		if r, err = find(tx, id); !errors.Is(err, ErrNotFound) {
			if err == nil && !bytes.Equal(r.Body, body) {
				err = ErrConflict
			}
			if err == nil {
				err = proveWhole(tx, &r)
			}
			return err
		}
		if quota := s.quota.Load(); quota > 0 && s.used(tx)+encodedSize(len(body)) > quota {
			return ErrQuota
		}
		added = true
		r = Record{ID: id, Node: s.node, Origin: s.origin, Seq: s.vector[s.origin].last() + 1, Time: s.clock().UTC().Round(0), Body: body}
		s.sign(&r)
		return write(tx, &r)
	})
	if err != nil {
		return Record{}, false, fmt.Errorf("record %q: %w", id, err)
	}
	if added {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.note(r.Origin, r.Seq)
		s.count++
	}
	return r, added, nil
}

// Vector returns a copy of the store's vector.
func (s *Store) Vector() Vector {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := make(Vector, len(s.vector))
	for o, e := range s.vector {
		v[o] = slices.Clone(e)
	}
	return v
}

// Len returns the number of ids.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Knowledge returns what SaveKnowledge kept, nil if nothing.
func (s *Store) Knowledge() ([]byte, error) {
	var b []byte
	err := s.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket(metaBucket).Get(knowledge)
		if v == nil {
			return nil
		}
		k, err := unseal(knowledge, v)
		b = bytes.Clone(k)
		return err
	})
	return b, err
}

// SaveKnowledge keeps the control loop's knowledge.
func (s *Store) SaveKnowledge(b []byte) error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	return s.commit(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(knowledge, seal(knowledge, b)) })
}

// Close closes the database.
func (s *Store) Close() error {
	s.handle.RLock()
	defer s.handle.RUnlock()
	return s.db.Close()
}

func key(origin string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(origin), 0), seq)
}

func splitKey(k []byte) (string, uint64, error) {
	const tail = 9
	if len(k) <= tail || k[len(k)-tail] != 0 {
		return "", 0, damaged("key %x in the log", k)
	}
	return string(k[:len(k)-tail]), binary.BigEndian.Uint64(k[len(k)-8:]), nil
}
