package iofault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// rounds moves the process onto a layer and back again some times, and fails if it is not
// there in between.
func (c *container) rounds(t *testing.T, n int) {
	t.Helper()
	for range n {
		p := c.inject(t)
		p.mustUpdate(t)
		c.onLayer(t, true)
		c.say(t, "there?")
		p.recover(t)
		c.onLayer(t, false)
		c.say(t, "there?")
	}
}

// onLayer checks that all or nothing that the first process has of the volume is on a layer.
func (c *container) onLayer(t *testing.T, want bool) {
	t.Helper()
	pid := c.init.Process.Pid
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	maps, err := filepath.Glob(fmt.Sprintf("/proc/%d/map_files/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	of := 0
	for _, link := range append(append(links, maps...), fmt.Sprintf("/proc/%d/cwd", pid)) {
		to, err := os.Readlink(link)
		if err != nil {
			continue // it was closed meanwhile
		}
		var st unix.Statfs_t
		if err := unix.Statfs(link, &st); err != nil {
			if _, gone := os.Readlink(link); gone == nil && strings.HasPrefix(to, c.volume) {
				t.Errorf("%s, %s: %v", link, to, err)
			}
			continue
		}
		const fuse = 0x65735546 // FUSE_SUPER_MAGIC
		if on := st.Type == fuse; on && !want || !on && strings.HasPrefix(to, c.volume) && want {
			t.Errorf("%s, %s: on a layer is %t", link, to, on)
		}
		if strings.HasPrefix(to, c.volume) {
			of++
		}
	}
	if of == 0 {
		t.Error("the process has nothing of the volume")
	}
}

// ends tells the process to stop and returns how often each of its works ran.
func (c *container) ends(t *testing.T) (turns []uint64) {
	t.Helper()
	line := c.say(t, "stop")
	counts, ok := strings.CutPrefix(line, "ok [")
	if !ok {
		t.Fatal(line)
	}
	for _, field := range strings.Fields(strings.TrimSuffix(counts, "]")) {
		var n uint64
		if _, err := fmt.Sscan(field, &n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			t.Error("a work never ran")
		}
		turns = append(turns, n)
	}
	return turns
}

// A thread that does not stop in time is tried again: what the first try has attached to stays so.
func TestVforkIsWaitedFor(t *testing.T) {
	c := start(t, "vforker")
	c.rounds(t, 5)
	c.ends(t)
}

func TestWriterIsMovedWithoutLosingAByte(t *testing.T) {
	c := start(t, "writer")
	c.rounds(t, 5)
	turns := c.ends(t)
	for i, name := range []string{"numbers", "appended"} {
		c.hasNumbers(t, name, turns[i])
	}
	// Its locks are where the others look.
	f, err := os.OpenFile(filepath.Join(c.volume, "numbers"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		t.Error("the lock of flock(2) is lost")
	}
	g, err := os.OpenFile(filepath.Join(c.volume, "appended"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for _, at := range []struct {
		start int64
		held  bool
	}{{99, false}, {100, true}, {149, true}, {150, false}} {
		probe := &unix.Flock_t{Type: unix.F_WRLCK, Start: at.start, Len: 1}
		if err := unix.FcntlFlock(g.Fd(), unix.F_GETLK, probe); err != nil {
			t.Fatal(err)
		}
		if held := probe.Type != unix.F_UNLCK; held != at.held {
			t.Errorf("byte %d of a record lock: held is %t", at.start, held)
		}
	}
	if flags, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", c.init.Process.Pid, c.descriptor(t, "numbers"))); err != nil {
		t.Error(err)
	} else if info, err := parseFDInfo(string(flags)); err != nil || info.flags&unix.O_CLOEXEC == 0 {
		t.Errorf("the first descriptor is no longer closed on exec: %o, %v", info.flags, err)
	}
}

// descriptor finds the lowest descriptor of a file of the volume.
func (c *container) descriptor(t *testing.T, name string) int {
	t.Helper()
	for fd := range 100 {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.init.Process.Pid, fd)); err == nil && to == filepath.Join(c.volume, name) {
			return fd
		}
	}
	t.Fatalf("%s is not open", name)
	return 0
}

// hasNumbers checks that a file has the numbers up to n, each once, in order.
func (c *container) hasNumbers(t *testing.T, name string, n uint64) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.volume, name))
	if err != nil {
		t.Fatal(err)
	}
	if uint64(len(b)) != 8*n {
		t.Fatalf("%s has %d bytes, want %d", name, len(b), 8*n)
	}
	for i := range n {
		if got := binary.BigEndian.Uint64(b[8*i:]); got != i {
			t.Fatalf("%s: number %d is %d", name, i, got)
		}
	}
	t.Logf("%s: %d numbers", name, n)
}

func TestMappingsAreMoved(t *testing.T) {
	c := start(t, "mapper")
	c.rounds(t, 5)
	turns := c.ends(t)
	for i, name := range []string{"counters", "pages"} {
		b, err := os.ReadFile(filepath.Join(c.volume, name))
		if err != nil {
			t.Fatal(err)
		}
		const pages = 256
		for turn := max(turns[i], pages) - pages; turn < turns[i]; turn++ {
			if got := binary.BigEndian.Uint64(b[turn%pages*4096:]); got != turn {
				t.Fatalf("%s: %d of %d is %d", name, turn, turns[i], got)
			}
		}
		t.Logf("%s: %d turns", name, turns[i])
	}
}

func TestDatabaseIsMoved(t *testing.T) {
	c := start(t, "keeper")
	c.rounds(t, 5)
	c.databaseHas(t, c.ends(t)[0])
}

// databaseHas checks that the database has the first n records.
func (c *container) databaseHas(t *testing.T, n uint64) {
	t.Helper()
	if err := c.databaseIsWhole(t, n); err != nil {
		t.Error(err)
	}
	t.Logf("%d records", n)
}

func (c *container) databaseIsWhole(t *testing.T, n uint64) error {
	t.Helper()
	first := make([]uint64, n)
	for i := range first {
		first[i] = uint64(i)
	}
	return c.databaseHasThese(t, first)
}

func (c *container) databaseHasThese(t *testing.T, records []uint64) (err error) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "bolt.db") // the process holds the lock of the other
	b, err := os.ReadFile(filepath.Join(c.volume, "bolt.db"))
	if err == nil {
		err = os.WriteFile(copied, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { // a broken database makes bbolt panic
		if r := recover(); r != nil {
			err = fmt.Errorf("bbolt: %v", r)
		}
	}()
	db, err := bbolt.Open(copied, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) (err error) {
		for e := range tx.Check() {
			err = errors.Join(err, e)
		}
		bucket := tx.Bucket([]byte("records"))
		if err != nil || bucket == nil {
			return errors.Join(err, errors.New("the database has not what it should"))
		}
		for _, i := range records {
			if bucket.Get(binary.BigEndian.AppendUint64(nil, i)) == nil {
				return fmt.Errorf("record %d of %d is lost", i, len(records))
			}
		}
		return nil
	})
}
