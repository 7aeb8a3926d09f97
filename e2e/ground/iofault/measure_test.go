package iofault

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// TestThroughput reports what the layer leaves of the bare file system's throughput. Figures of a busy machine
// are no judgement, so it asserts nothing but that the bytes are right.
func TestThroughput(t *testing.T) {
	if testing.Short() || buildFlags != nil {
		t.Skip("figures under the race detector say nothing")
	}
	c := start(t, "idle")
	p := c.inject(t)
	p.mustUpdate(t)
	const size, rounds = 64 << 20, 3
	var ratios []string
	for _, what := range []struct {
		name  string
		block int
		run   func(path string, block int) error
	}{
		{"write 1 MiB blocks and fsync", 1 << 20, writeAll(size, 0)},
		{"write 4 KiB blocks, fsync each 64", 4096, writeAll(size/16, 64)},
		{"100 bbolt commits", 0, commits},
		{"read 1 MiB blocks, not cached", 1 << 20, readAll},
		{"read 4 KiB blocks, not cached", 4096, readAll},
	} {
		var took [2][]time.Duration
		for range rounds {
			for i, dir := range []string{t.TempDir(), c.path()} {
				file := filepath.Join(dir, "file")
				if err := writeAll(size, 0)(file, 1<<20); err != nil {
					t.Fatal(err)
				}
				uncache(t, file)
				if i == 1 {
					uncache(t, filepath.Join(c.volume, "file"))
				}
				begin := time.Now()
				if err := what.run(file, what.block); err != nil {
					t.Fatal(err)
				}
				took[i] = append(took[i], time.Since(begin))
			}
		}
		slices.Sort(took[0])
		slices.Sort(took[1])
		ratios = append(ratios, fmt.Sprintf("%s: bare %v, layer %v, %.0f %%", what.name, took[0][rounds/2], took[1][rounds/2],
			100*float64(took[0][rounds/2])/float64(took[1][rounds/2])))
	}
	for _, r := range ratios {
		t.Log(r)
	}
}

func uncache(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

func writeAll(size, sync int) func(path string, block int) error {
	return func(path string, block int) error {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		b := make([]byte, block)
		for i := range size / block {
			if _, err := f.Write(b); err != nil {
				return err
			}
			if sync > 0 && i%sync == 0 {
				if err := f.Sync(); err != nil {
					return err
				}
			}
		}
		return f.Sync()
	}
}

// commits is the load that the mesh's store is.
func commits(path string, _ int) error {
	db, err := bbolt.Open(path+".db", 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	for i := range uint64(100) {
		if err := db.Update(func(tx *bbolt.Tx) error { return record(tx, i) }); err != nil {
			return err
		}
	}
	return nil
}

func readAll(path string, block int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, block)
	for {
		if _, err := f.Read(b); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// TestLatencyThroughTheLayer measures calls with a latency: those that it hits take it at least, and about
// as many as it should, and the others are as fast as without.
func TestLatencyThroughTheLayer(t *testing.T) {
	c := start(t, "idle")
	f, err := os.Create(filepath.Join(c.volume, "file"))
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := c.inject(t)
	const latency, percent, calls = 50 * time.Millisecond, 40, 250
	p.mustUpdate(t, Action{Type: "latency", Methods: []string{"write"}, Path: c.volume + "/*", Percent: percent, Latency: latency.String()})
	if f, err = os.OpenFile(c.path("file"), os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var took []time.Duration
	slow := 0
	for range calls {
		begin := time.Now()
		if _, err := f.WriteAt([]byte("x"), 0); err != nil {
			t.Fatal(err)
		}
		d := time.Since(begin)
		if took = append(took, d); d >= latency {
			slow++
		}
	}
	slices.Sort(took)
	t.Logf("%d of %d took %v or more; fast median %v; slow median %v, longest %v", slow, calls, latency, took[(calls-slow)/2], took[calls-slow/2-1], took[calls-1])
	// 250 draws at 40 %: five standard deviations are 39.
	if slow < 100-39 || slow > 100+39+calls/20 {
		t.Errorf("%d of %d calls were slow, want about 100", slow, calls)
	}
	if fast := took[(calls-slow)/2]; fast >= latency/2 {
		t.Errorf("the others take %v", fast)
	}
}

func TestPercentThroughTheLayer(t *testing.T) {
	c := start(t, "idle")
	p := c.inject(t)
	p.mustUpdate(t, Action{Type: "fault", Methods: []string{"write"}, Percent: 50, Faults: []Fault{{uint32(syscall.EIO), 1}, {uint32(syscall.ENOSPC), 1}}})
	f, err := os.Create(c.path("file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[error]int{}
	const calls = 10_000
	for range calls {
		_, err := unix.Pwrite(int(f.Fd()), []byte("x"), 0)
		got[err]++
	}
	t.Log(got)
	for err, want := range map[error]int{nil: calls / 2, syscall.EIO: calls / 4, syscall.ENOSPC: calls / 4} {
		if off := got[err] - want; off < -250 || off > 250 { // five standard deviations
			t.Errorf("%v: %d, want about %d", err, got[err], want)
		}
	}
}
