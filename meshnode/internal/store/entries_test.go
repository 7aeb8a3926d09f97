package store

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// TestEntriesLeaveBodiesAlone: a page over large records takes no more memory than one
// over small ones, says what the records' own list says, is bounded, and does not look at
// the log: a list of a store whose log is damaged says the same.
func TestEntriesLeaveBodiesAlone(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	sizes, times := map[string]int{}, map[string]time.Time{}
	const records = 200
	for i := range records {
		size := i % 7 // with every remainder of base64's padding
		if i >= 20 {
			size = maxBody - i%5
		}
		id := fmt.Sprintf("%03d", i)
		sizes[id] = size
		times[id] = put(t, s, id, string(bytes.Repeat([]byte{byte(i)}, size))).Time
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		log := tx.Bucket(logBucket)
		for seq := range uint64(records) {
			if err := log.Put(key(s.origin, seq+1), []byte("damaged")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.List("", 1); err == nil {
		t.Fatal("the log is not damaged")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pages, listed := 0, 0
	for last, more := "", true; more; pages++ {
		var page []Entry
		var err error
		if page, more, err = s.Entries(last, 150); err != nil || len(page) == 0 {
			t.Fatalf("page %d after %q: %d entries, %v", pages, last, len(page), err)
		}
		for _, e := range page {
			if e.ID <= last || e.Size != sizes[e.ID] || e.Node != "a" || e.Time != times[e.ID] {
				t.Errorf("entry %+v after %q, of a body of %d bytes", e, last, sizes[e.ID])
			}
			last = e.ID
			listed++
		}
	}
	runtime.ReadMemStats(&after)
	if listed != records || pages != 2 {
		t.Errorf("%d records listed on %d pages", listed, pages)
	}
	if took := (after.TotalAlloc - before.TotalAlloc) / records; took > 1<<10 {
		t.Errorf("the list took %d bytes per record", took)
	}
	if page, more, err := s.Entries("", 3); err != nil || len(page) != 3 || !more {
		t.Errorf("three of them: %v, more %v, %v", page, more, err)
	}
	if page, more, err := s.Entries(fmt.Sprintf("%03d", records-2), 3); err != nil || len(page) != 1 || more {
		t.Errorf("the last: %v, more %v, %v", page, more, err)
	}
}
