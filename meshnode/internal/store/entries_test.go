package store

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

// TestEntriesLeaveBodiesAlone: a page over large records takes no more memory than one
// over small ones, says what the records' own list says, and is bounded.
func TestEntriesLeaveBodiesAlone(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	sizes := map[string]int{}
	const records = 200
	for i := range records {
		size := i % 7 // with every remainder of base64's padding
		if i >= 20 {
			size = maxBody - i%5
		}
		id := fmt.Sprintf("%03d", i)
		sizes[id] = size
		put(t, s, id, string(bytes.Repeat([]byte{byte(i)}, size)))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pages, listed := 0, 0
	for last, more := "", true; more; pages++ {
		var page []Entry
		var err error
		if page, more, err = s.Entries(last, 1000); err != nil || len(page) == 0 {
			t.Fatalf("page %d after %q: %d entries, %v", pages, last, len(page), err)
		}
		looked := 0
		for _, e := range page {
			if e.ID <= last || e.Size != sizes[e.ID] || e.Node != "a" || e.Time.IsZero() {
				t.Errorf("entry %+v after %q, of a body of %d bytes", e, last, sizes[e.ID])
			}
			last = e.ID
			listed++
			looked += e.Size
		}
		if looked > pageBytes {
			t.Errorf("page %d is over %d bytes of bodies", pages, looked)
		}
	}
	runtime.ReadMemStats(&after)
	if listed != records || pages < 2 {
		t.Errorf("%d records listed on %d pages", listed, pages)
	}
	if took := (after.TotalAlloc - before.TotalAlloc) / records; took > 4<<10 {
		t.Errorf("the list took %d bytes per record", took)
	}
	if page, more, err := s.Entries("", 3); err != nil || len(page) != 3 || !more {
		t.Errorf("three of them: %v, more %v, %v", page, more, err)
	}
	if page, more, err := s.Entries(fmt.Sprintf("%03d", records-2), 3); err != nil || len(page) != 1 || more {
		t.Errorf("the last: %v, more %v, %v", page, more, err)
	}
}
