package store

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// ErrDiskFull says that there is no room for a record. Reads go on, and writes
// as soon as there is room.
var ErrDiskFull = errors.New("no room on the disk")

// ErrRefused says that the store takes no records from clients; see Refuse.
var ErrRefused = errors.New("this node takes no records at the moment")

// Fault is what is wrong with a store's disk.
type Fault string

// The faults. After FaultError nothing is written to the file any more: see Recover.
const (
	FaultError Fault = "error" // a commit failed
	FaultFull  Fault = "full"  // a commit failed for want of room
	FaultLost  Fault = "lost"  // what was acknowledged cannot be read any more
)

// Disk is what a store's disk has shown of itself.
type Disk struct {
	Fault Fault         // since the last commit that was good; empty: none
	Err   error         // its error
	Busy  time.Duration // how long the commit that is under way has taken by now; 0: none is
	Took  time.Duration // how long the last commit took, good or not
	Ended time.Time     // when that was; zero: there was none
}

// diskState is what Disk is made of.
type diskState struct {
	Disk
	began   time.Time // the commit that is under way; zero: none is
	suspect bool      // the file may not hold what can be read of it
	told    func(took time.Duration, f Fault)
}

// Disk returns what the disk has shown of itself. It does not wait for it.
func (s *Store) Disk() Disk {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.disk.Disk
	if !s.disk.began.IsZero() {
		d.Busy = time.Since(s.disk.began)
	}
	return d
}

// Watch has f told of each commit that ends: how long it took, and its fault, empty if it
// was good. It must be called before the store is used, and f must not block.
func (s *Store) Watch(f func(took time.Duration, fault Fault)) { s.disk.told = f }

// Through has every commit run by disk, which may delay it or make an error of what
// came of it, as a disk does. It must be called before the store is used.
func (s *Store) Through(disk func(commit func() error) error) {
	update := s.update
	s.update = func(f func(*bbolt.Tx) error) error { return disk(func() error { return update(f) }) }
}

// Refuse begins or, with nil, ends to refuse records of clients, also of those that wait. What
// other stores accepted is still kept.
func (s *Store) Refuse(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = nil
	if why != nil {
		s.refuses = fmt.Errorf("%w: %w", ErrRefused, why)
	}
}

// refusal returns why records of clients are refused.
func (s *Store) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuses
}

// Refusing reports whether records of clients are refused.
func (s *Store) Refusing() bool { return s.refusal() != nil }

// commit runs a transaction, which is on disk when commit returns nil and has
// not happened, as far as can be seen, when it returns an error; s.writing is full.
//
// A disk that was full may have room again: the next commit tries. But after any other
// failure no one knows what the disk holds. The kernel takes what it could not write for
// written, and a later commit that builds on it would be acknowledged and not be
// there (Rebello et al., "Can applications recover from fsync failures?", 2020). So
// nothing is written to that file any more.
func (s *Store) commit(f func(*bbolt.Tx) error) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer func() { // one that panics has not happened either: the transaction is rolled back
		if v := recover(); v != nil {
			s.end("", nil, false)
			panic(v)
		}
	}()
	var id int
	var refused error
	err := s.update(func(tx *bbolt.Tx) error {
		id = tx.ID()
		refused = f(tx)
		return refused
	})
	if refused != nil { // nothing was written
		s.end("", nil, false)
		return refused
	}
	if err == nil {
		s.weigh()
		s.end("", nil, true)
		return nil
	}
	fault := FaultError
	if (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && (id == 0 || !s.shows(id)) {
		fault, err = FaultFull, fmt.Errorf("%w: free some beside %s: %w", ErrDiskFull, s.path, err)
	} else {
		err = fmt.Errorf("the disk failed while it wrote to %s, which takes nothing more until it is made anew: %w", s.path, err)
	}
	s.end(fault, err, true)
	return err
}

// shows reports whether a transaction can be read although its commit failed.
func (s *Store) shows(id int) bool {
	shown := true
	// A view of a database that is open does not fail; if it did, nobody would know.
	_ = s.view(func(tx *bbolt.Tx) error {
		shown = tx.ID() >= id
		return nil
	})
	return shown
}

// begin notes that a commit begins, or returns why none may.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk.suspect {
		return s.disk.Err
	}
	s.disk.began = time.Now()
	return nil
}

// end notes the end of a commit; tried is false if it did not get to the disk.
func (s *Store) end(f Fault, err error, tried bool) {
	s.mu.Lock()
	now := time.Now()
	took := now.Sub(s.disk.began)
	s.disk.began = time.Time{}
	if tried {
		s.disk.Disk = Disk{Fault: f, Err: err, Took: took, Ended: now}
		s.disk.suspect = f == FaultError
	}
	told := s.disk.told
	s.mu.Unlock()
	if tried && told != nil {
		told(took, f)
	}
}
