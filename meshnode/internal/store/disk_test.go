package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// late makes the disk fail after a commit became visible, as a flush does whose failure is
// reported late, while the returned value is true.
func late(s *Store) *atomic.Bool {
	var fails atomic.Bool
	s.Through(func(commit func() error) error {
		err := commit()
		if fails.Load() {
			err = errors.Join(err, syscall.EIO)
		}
		return err
	})
	return &fails
}

// TestAFailedCommitIsTheLast: whatever becomes of the disk, nothing is written to a file of
// which a commit failed, whether it can be read or not, and everything can until it is made anew.
func TestAFailedCommitIsTheLast(t *testing.T) {
	for what, disk := range map[string]func(commit func() error) error{
		"and can be read":    func(commit func() error) error { return errors.Join(commit(), syscall.EIO) },
		"and cannot be read": func(func() error) error { return syscall.EIO },
		"a full disk that shows it": func(commit func() error) error {
			return errors.Join(commit(), syscall.ENOSPC)
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, "a")
			put(t, s, "x", "1")
			s.update = func(f func(*bbolt.Tx) error) error { return disk(func() error { return s.db.Update(f) }) }
			if _, _, err := s.Put("y", []byte("2")); err == nil {
				t.Fatal("acknowledged")
			}
			s.update = func(func(*bbolt.Tx) error) error {
				t.Error("something is written to the file")
				return nil
			}
			if _, _, err := s.Put("z", []byte("3")); err == nil || !strings.Contains(err.Error(), "takes nothing more") {
				t.Errorf("put after that: %v", err)
			}
			if _, err := s.Add(signed(Record{ID: "o", Node: "b", Origin: "b/12345678", Seq: 1, Time: someTime, Body: []byte("4")})); err == nil {
				t.Error("added after that")
			}
			if err := s.SaveKnowledge(nil); err == nil {
				t.Error("knowledge saved after that")
			}
			if d := s.Disk(); d.Fault != FaultError || d.Err == nil {
				t.Errorf("%+v", d)
			}
			if r, err := s.Get("x"); err != nil || string(r.Body) != "1" {
				t.Errorf("%q, %v", r.Body, err)
			}
		})
	}
}

// TestRecoverMakesTheFileAnew: acknowledged records are in the new file and after a restart; numbers
// are not used twice; readers notice nothing.
func TestRecoverMakesTheFileAnew(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "a")
	for i := range 50 {
		put(t, s, fmt.Sprint(i), strings.Repeat("x", i*40))
	}
	if err := s.SaveKnowledge([]byte("wise")); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Recover(); err != nil {
		t.Fatal(err)
	}
	if same, err := os.Stat(filepath.Join(dir, File)); err != nil || !os.SameFile(before, same) {
		t.Errorf("a sound file was made anew: %v", err)
	}
	fails := late(s)
	fails.Store(true)
	if _, _, err := s.Put("unsure", nil); err == nil {
		t.Fatal("acknowledged")
	}
	fails.Store(false)
	stop, read := make(chan bool), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				read <- nil
				return
			default:
			}
			if r, err := s.Get("49"); err != nil || len(r.Body) != 49*40 {
				read <- fmt.Errorf("%d bytes, %w", len(r.Body), err)
				return
			}
		}
	}()
	if err := s.Recover(); err != nil {
		t.Fatal(err)
	}
	close(stop)
	if err := <-read; err != nil {
		t.Errorf("a reader: %v", err)
	}
	if after, err := os.Stat(filepath.Join(dir, File)); err != nil || os.SameFile(before, after) {
		t.Errorf("the file is the old one: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, File+newSuffix)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	if d := s.Disk(); d.Fault != "" {
		t.Errorf("%+v", d)
	}
	next := put(t, s, "next", "n")
	if next.Seq != 52 { // the one that nobody was sure of has a number
		t.Errorf("number %d", next.Seq)
	}
	if err := s.db.Close(); err != nil { // a process that is gone
		t.Fatal(err)
	}
	again := open(t, dir, "a")
	if again.Len() != 52 {
		t.Errorf("%d records after a restart", again.Len())
	}
	if k, err := again.Knowledge(); err != nil || string(k) != "wise" {
		t.Errorf("knowledge %q, %v", k, err)
	}
}

// TestRecoverRefusesWhatIsNotWhole: a file that has lost an acknowledged record, or is damaged, is not put in place
// of anything, and the fault says so.
func TestRecoverRefusesWhatIsNotWhole(t *testing.T) {
	for what, harm := range map[string]func(tx *bbolt.Tx) error{
		"a record is gone": func(tx *bbolt.Tx) error {
			r, err := find(tx, "x")
			if err != nil {
				return err
			}
			return errors.Join(tx.Bucket(logBucket).Delete(key(r.Origin, r.Seq)), tx.Bucket(idBucket).Delete([]byte("x")))
		},
		"a bit is wrong": func(tx *bbolt.Tx) error {
			c := tx.Bucket(logBucket).Cursor()
			k, v := c.Last()
			v = append([]byte{}, v...)
			v[9] ^= 1
			return tx.Bucket(logBucket).Put(k, v)
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, "a")
			put(t, s, "x", "1")
			put(t, s, "y", "2")
			path := filepath.Join(dir, File)
			before, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.db.Update(harm); err != nil {
				t.Fatal(err)
			}
			s.update = func(func(*bbolt.Tx) error) error { return syscall.EIO }
			if _, _, err := s.Put("z", nil); err == nil {
				t.Fatal("acknowledged")
			}
			s.update = s.db.Update
			if err := s.Recover(); err == nil {
				t.Fatal("recovered")
			}
			if d := s.Disk(); d.Fault != FaultLost {
				t.Errorf("%+v", d)
			}
			if _, _, err := s.Put("w", nil); err == nil {
				t.Error("written after that")
			}
			if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("the file was replaced: %v", err)
			}
			if _, err := os.Stat(path + newSuffix); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("left behind: %v", err)
			}
		})
	}
}

// TestASlowDiskKeepsNobodyElse: while a commit waits for the disk, what only asks is answered, and
// how long it has taken can be seen; a refusal also reaches who waits for their turn.
func TestASlowDiskKeepsNobodyElse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir(), "a")
		put(t, s, "x", "1")
		var told []time.Duration
		s.Watch(func(took time.Duration, f Fault) { told = append(told, took) })
		s.Through(func(commit func() error) error {
			time.Sleep(3 * time.Second)
			return commit()
		})
		results := make(chan error, 2)
		for i := range 2 {
			go func() {
				_, _, err := s.Put(fmt.Sprint("slow ", i), nil)
				results <- err
			}()
		}
		time.Sleep(time.Second)
		start := time.Now()
		if n := s.Len(); n != 1 {
			t.Errorf("%d records", n)
		}
		if v := s.Vector(); len(v) != 1 {
			t.Errorf("%v", v)
		}
		if _, err := s.Get("x"); err != nil {
			t.Error(err)
		}
		s.Full()
		if d := s.Disk(); d.Busy != time.Second || d.Fault != "" {
			t.Errorf("%+v", d)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("who asked waited for %v", took)
		}
		why := errors.New("why")
		s.Refuse(why)
		first, second := <-results, <-results // which of the two is told first is open
		if first != nil {
			first, second = second, first
		}
		if first != nil {
			t.Errorf("the commit under way: %v", first)
		}
		if !errors.Is(second, ErrRefused) || !errors.Is(second, why) {
			t.Errorf("the one that waited: %v", second)
		}
		if d := s.Disk(); d.Busy != 0 || d.Took != 3*time.Second {
			t.Errorf("%+v", d)
		}
		if len(told) != 1 || told[0] != 3*time.Second {
			t.Errorf("told %v", told)
		}
		if _, err := s.Add(signed(Record{ID: "o", Node: "b", Origin: "b/12345678", Seq: 1, Time: someTime, Body: []byte("4")})); err != nil {
			t.Errorf("what others accepted is refused: %v", err)
		}
		s.Refuse(nil)
		if s.Refusing() {
			t.Error("still refusing")
		}
		if err := s.Try(); err != nil {
			t.Error(err)
		}
	})
}

// TestAHalfMadeFileIsRemoved: what a recovery that was killed left is gone when the store is opened.
func TestAHalfMadeFileIsRemoved(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "a")
	if _, _, err := s.Put("x", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, File+newSuffix)
	if err := os.WriteFile(left, []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, "a")
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", left, err)
	}
	if _, err := s.Get("x"); err != nil {
		t.Error(err)
	}
}

// TestWhereATrialHadRoomTheLargestRecordHas: on a disk that is full but for what a trial takes.
func TestWhereATrialHadRoomTheLargestRecordHas(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	for range 3 {
		if err := s.Try(); err != nil {
			t.Fatal(err)
		}
	}
	size := func() int64 {
		st, err := os.Stat(s.path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	before := size()
	if _, _, err := s.Put("x", make([]byte, maxBody)); err != nil {
		t.Fatal(err)
	}
	if after := size(); after != before {
		t.Errorf("after trials the largest record made the file grow from %d to %d bytes", before, after)
	}
}
