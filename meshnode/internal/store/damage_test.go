package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// image is a store's file with several levels of pages, free pages and a large
// value, and what is in it.
func image(t testing.TB) (file []byte, bodies map[string]string) {
	t.Helper()
	dir := t.TempDir()
	s, err := openWith(dir, "a", stamp("a"), time.Now, strings.NewReader("12345678"), simulated)
	if err != nil {
		t.Fatal(err)
	}
	bodies = map[string]string{}
	for i := range 60 {
		id, body := fmt.Sprintf("%0*d", 3+i%80, i), strings.Repeat("x", i*i%700)
		if i == 30 {
			body = strings.Repeat("y", 10_000)
		}
		bodies[id] = body
		if _, _, err := s.Put(id, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.SaveKnowledge([]byte("wise")), s.Close()); err != nil {
		t.Fatal(err)
	}
	if file, err = os.ReadFile(filepath.Join(dir, File)); err != nil {
		t.Fatal(err)
	}
	return file, bodies
}

// openImage opens a file that may be damaged and uses everything in it. Either
// all is as it was, or an error says what to do; nil means as it was.
func openImage(t *testing.T, dir string, file []byte, bodies map[string]string) error {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, File), file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openWith(dir, "a", stamp("a"), time.Now, strings.NewReader("12345678"), simulated)
	if err != nil {
		if d, ok := errors.AsType[*DamagedError](err); !ok || d.Path == "" || !strings.Contains(err.Error(), "move it away") || strings.Contains(err.Error(), "\n") {
			t.Errorf("error that does not help: %v", err)
		}
		return err
	}
	list, err := s.List("", 1000)
	if err != nil {
		t.Errorf("opened, but: %v", err)
	}
	// The write before the last one may be what a damaged head leaves.
	if len(list) != len(bodies) || s.Len() != len(bodies) {
		t.Errorf("%d of %d records, %d counted, and no error", len(list), len(bodies), s.Len())
	}
	for _, r := range list {
		if string(r.Body) != bodies[r.ID] {
			t.Errorf("%q holds something else, and no error", r.ID)
		}
	}
	for i := range 20 { // takes pages from the list of free ones
		if _, _, err := s.Put(fmt.Sprint("new ", i), bytes.Repeat([]byte("z"), 900)); err != nil {
			t.Errorf("opened, but: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s, err = openWith(dir, "a", stamp("a"), time.Now, strings.NewReader("12345678"), simulated)
	if err != nil {
		t.Fatalf("writing damaged it: %v", err)
	}
	if s.Len() != len(bodies)+20 {
		t.Errorf("%d records after 20 more", s.Len())
	}
	return s.Close()
}

// TestDamagedFileIsAnErrorNeverLoss damages a file in 3,000 ways.
func TestDamagedFileIsAnErrorNeverLoss(t *testing.T) {
	file, bodies := image(t)
	dir := memoryDir(t)
	if err := openImage(t, dir, file, bodies); err != nil {
		t.Fatal(err)
	}
	found, harmless := 0, 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 3))
		b := bytes.Clone(file)
		at := rng.IntN(len(b))
		switch rng.IntN(6) {
		case 0: // one bit
			b[at] ^= 1 << rng.IntN(8)
		case 1: // heads of pages and entries matter most
			b[at/testPage*testPage+rng.IntN(64)] = byte(rng.Uint32())
		case 2:
			garble(rng, b[at/sector*sector:at/sector*sector+sector])
		case 3: // a page where another one belongs
			copy(b[at/testPage*testPage:(at/testPage+1)*testPage], b[rng.IntN(len(b)/testPage)*testPage:])
		case 4:
			b = b[:at]
		case 5:
			clear(b[at/testPage*testPage : (at/testPage+1)*testPage])
		}
		if len(b) == 0 {
			continue // a new file
		}
		if openImage(t, dir, b, bodies) != nil {
			found++
		} else {
			harmless++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d found, %d where nothing was", found, harmless)
	if found < 1000 || harmless < 100 {
		t.Errorf("%d found, %d where nothing was: the test does not test both", found, harmless)
	}
}

// FuzzDamagedFile: no file makes the store panic, hang or answer wrongly. The
// input is edits of a sound file: page, offset and the byte there.
func FuzzDamagedFile(f *testing.F) {
	file, bodies := image(f)
	f.Add([]byte{})
	f.Add([]byte{3, 0, 8, 2})
	f.Add([]byte{4, 0, 10, 255, 4, 0, 11, 255})
	f.Add([]byte{5, 0, 24, 5, 5, 0, 25, 0})
	f.Fuzz(func(t *testing.T, edits []byte) {
		b := bytes.Clone(file)
		for ; len(edits) >= 4; edits = edits[4:] {
			page := int(edits[0]) % (len(b) / testPage)
			b[page*testPage+(int(edits[1])<<8+int(edits[2]))%testPage] = edits[3]
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, File), b, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = openImage(t, dir, b, bodies)
	})
}

func TestBrokenDiskStopsWriting(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	put(t, s, "x", "1")
	// What fsync reports late: the transaction is visible all the same.
	s.update = func(f func(*bbolt.Tx) error) error {
		return errors.Join(s.db.Update(f), syscall.EIO)
	}
	if _, _, err := s.Put("y", nil); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "takes nothing more") {
		t.Errorf("error %v", err)
	}
	s.update = s.db.Update
	if _, _, err := s.Put("z", nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("written after that: %v", err)
	}
	if r, err := s.Get("x"); err != nil || string(r.Body) != "1" {
		t.Errorf("%q, %v", r.Body, err)
	}
}

// TestFullDisk fills a small file system.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "mesh-test", dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 400<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, "a", stamp("a"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	body := strings.Repeat("x", 4000)
	fill := func() (err error) {
		for err == nil {
			if _, _, err = s.Put(fmt.Sprint(kept), []byte(body)); err == nil {
				kept++
			}
		}
		return err
	}
	whole := func(when string) {
		t.Helper()
		list, err := s.List("", 1000)
		if err != nil || len(list) != kept || s.Len() != kept {
			t.Fatalf("%s: %d records listed, %d counted, %d kept, %v", when, len(list), s.Len(), kept, err)
		}
	}
	for range 3 { // the error does not wear off
		if err := fill(); !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("after %d records: %v", kept, err)
		}
	}
	if _, err := s.Add(signed(Record{ID: "far", Node: "b", Origin: "b/1", Seq: 1, Time: time.Now(), Body: []byte(body)})); !errors.Is(err, ErrDiskFull) {
		t.Errorf("a peer's record: %v", err)
	}
	whole("full")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, "a", stamp("a"), time.Now); err != nil {
		t.Fatalf("a node with a full disk does not start: %v", err)
	}
	whole("started with a full disk")
	before := kept
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := fill(); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if kept < before+20 {
		t.Errorf("%d more records after there was room", kept-before)
	}
	whole("full again")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, "a", stamp("a"), time.Now); err != nil {
		t.Fatal(err)
	}
	whole("started again")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
