// Package store keeps the mesh's replicated, append-only set of records.
//
// A record is named by an id and never changes. Each store numbers the records
// that it accepts itself (origin and sequence), so that a version vector, the
// highest sequence per origin up to which nothing is missing, tells what
// another store lacks. Two sides of a partition can accept different content
// under one id; both are kept, and every store answers with the same one: that
// of the smaller (time, origin).
package store

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
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
}

// Vector is the highest sequence per origin up to which nothing is missing.
type Vector map[string]uint64

// ErrConflict says that an id is taken by other content.
var ErrConflict = errors.New("this id holds other content")

// ErrNotFound says that no record has the id.
var ErrNotFound = errors.New("no such record")

var (
	logBucket  = []byte("log")  // origin, 0, sequence u64 -> record as JSON
	idBucket   = []byte("id")   // id -> key in log
	metaBucket = []byte("meta") // "origin", "knowledge"
	originKey  = []byte("origin")
	knowledge  = []byte("knowledge")
)

// File is the name of the database in the data directory.
const File = "records.db"

// openTimeout bounds the wait for another process that has the file open.
const openTimeout = 5 * time.Second

// Store is safe for concurrent use.
type Store struct {
	db     *bbolt.DB
	node   string
	origin string
	clock  func() time.Time

	mu     sync.Mutex
	vector Vector
	ahead  map[string]map[uint64]bool // sequences above the vector
	count  int
}

// Open opens or makes the store in dir.
func Open(dir, node string, clock func() time.Time) (*Store, error) {
	path := filepath.Join(dir, File)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openTimeout, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	s := &Store{db: db, node: node, clock: clock, vector: Vector{}, ahead: map[string]map[uint64]bool{}}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", path, err), db.Close())
	}
	return s, nil
}

func (s *Store) load() error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{logBucket, idBucket, metaBucket} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		meta := tx.Bucket(metaBucket)
		if o := meta.Get(originKey); o != nil {
			s.origin = string(o)
		} else {
			var b [8]byte
			if _, err := rand.Read(b[:]); err != nil {
				return err
			}
			s.origin = s.node + "/" + hex.EncodeToString(b[:])
			if err := meta.Put(originKey, []byte(s.origin)); err != nil {
				return err
			}
		}
		s.count = tx.Bucket(idBucket).Stats().KeyN
		return tx.Bucket(logBucket).ForEach(func(k, _ []byte) error {
			origin, seq, err := splitKey(k)
			if err != nil {
				return err
			}
			s.note(origin, seq)
			return nil
		})
	})
}

// note adds a sequence to the vector; s.mu is held or s is not shared yet.
func (s *Store) note(origin string, seq uint64) {
	if seq <= s.vector[origin] {
		return
	}
	ahead := s.ahead[origin]
	if ahead == nil {
		ahead = map[uint64]bool{}
		s.ahead[origin] = ahead
	}
	ahead[seq] = true
	for ahead[s.vector[origin]+1] {
		s.vector[origin]++
		delete(ahead, s.vector[origin])
	}
	if len(ahead) == 0 {
		delete(s.ahead, origin)
	}
}

// Put accepts content under an id and returns its record once it is on disk.
// The same content again returns the record that is there and false.
func (s *Store) Put(id string, body []byte) (Record, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var r Record
	added := false
	err := s.db.Update(func(tx *bbolt.Tx) error {
		if k := tx.Bucket(idBucket).Get([]byte(id)); k != nil {
			if err := decodeRecord(tx.Bucket(logBucket).Get(k), &r); err != nil {
				return err
			}
			if !bytes.Equal(r.Body, body) {
				return ErrConflict
			}
			return nil
		}
		added = true
		r = Record{ID: id, Node: s.node, Origin: s.origin, Seq: s.vector[s.origin] + 1, Time: s.clock().UTC().Round(0), Body: body}
		return s.write(tx, &r)
	})
	if err != nil {
		return Record{}, false, fmt.Errorf("record %q: %w", id, err)
	}
	if added {
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
	for o, n := range s.vector {
		v[o] = n
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
	err := s.db.View(func(tx *bbolt.Tx) error {
		b = bytes.Clone(tx.Bucket(metaBucket).Get(knowledge))
		return nil
	})
	return b, err
}

// SaveKnowledge keeps the control loop's knowledge.
func (s *Store) SaveKnowledge(b []byte) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(knowledge, b) })
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

func key(origin string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(origin), 0), seq)
}

func splitKey(k []byte) (string, uint64, error) {
	const tail = 9
	if len(k) <= tail || k[len(k)-tail] != 0 {
		return "", 0, fmt.Errorf("damaged key %x in the log: restore %s or remove it", k, File)
	}
	return string(k[:len(k)-tail]), binary.BigEndian.Uint64(k[len(k)-8:]), nil
}

func decodeRecord(b []byte, r *Record) error {
	if err := json.Unmarshal(b, r); err != nil {
		return fmt.Errorf("damaged record in %s: %w; restore the file or remove it", File, err)
	}
	return nil
}
