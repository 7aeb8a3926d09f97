package iofault

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLayerIsByteIdentical does the same at random on a bare file system and through the layer, as fsx
// does, and compares whatever can be seen of it: a few seconds, or ten minutes with
// MESH_TEST_LONG=1.
func TestLayerIsByteIdentical(t *testing.T) {
	duration := 5 * time.Second
	if os.Getenv("MESH_TEST_LONG") == "1" {
		duration = 10 * time.Minute
	}
	c := start(t, "idle")
	p := c.inject(t)
	p.mustUpdate(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	pair := &twin{t: t, roots: [2]string{t.TempDir(), c.path()}, draw: rand.New(rand.NewPCG(seed, 0)), open: [2]map[string]*os.File{{}, {}}}
	steps := 0
	for deadline := time.Now().Add(duration); time.Now().Before(deadline) && !t.Failed(); steps++ {
		pair.step()
		if steps%500 == 0 {
			pair.compare()
		}
	}
	pair.compare()
	pair.close()
	p.recover(t)
	pair.roots[1] = c.volume // and on the disk below
	pair.compare()
	t.Logf("%d steps in %v: %v", steps, duration, pair.done)
}

// twin does everything twice.
type twin struct {
	t     *testing.T
	roots [2]string // bare, and through the layer
	open  [2]map[string]*os.File
	draw  *rand.Rand
	done  map[string]int
}

const twinBytes = 300_000 // of a file, at most

// outcome is what a call is seen to do.
type outcome struct {
	n    int64
	data []byte
	err  error
}

func (o outcome) String() string {
	return fmt.Sprintf("%d, %d bytes, %v", o.n, len(o.data), o.err)
}

// both does something with each of the two, and compares what it is seen to do.
func (w *twin) both(what string, do func(i int) outcome) {
	w.t.Helper()
	if w.done == nil {
		w.done = map[string]int{}
	}
	w.done[what]++
	bare, layer := do(0), do(1)
	var a, b unix.Errno
	errors.As(bare.err, &a)
	errors.As(layer.err, &b)
	if bare.n != layer.n || !bytes.Equal(bare.data, layer.data) || a != b || (bare.err == nil) != (layer.err == nil) {
		w.t.Errorf("%s: bare %v; through the layer %v", what, bare, layer)
	}
}

// file is an open file of each.
func (w *twin) file(i int, name string) *os.File {
	if f := w.open[i][name]; f != nil {
		return f
	}
	f, err := os.OpenFile(filepath.Join(w.roots[i], name), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		w.t.Fatal(err)
	}
	w.open[i][name] = f
	return f
}

func (w *twin) step() {
	name, other := fmt.Sprint("file", w.draw.IntN(4)), fmt.Sprint("file", w.draw.IntN(4))
	off, size := w.draw.Int64N(twinBytes), 1+w.draw.Int64N(70_000)
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(w.draw.Uint32())
	}
	fd := func(i int) int { return int(w.file(i, name).Fd()) }
	switch w.draw.IntN(20) {
	case 0, 1, 2, 3:
		w.both("pwrite", func(i int) outcome { n, err := unix.Pwrite(fd(i), data, off); return outcome{n: int64(n), err: err} })
	case 4, 5, 6, 7:
		w.both("pread", func(i int) outcome {
			b := make([]byte, size)
			n, err := unix.Pread(fd(i), b, off)
			return outcome{int64(n), b, err}
		})
	case 8:
		w.both("truncate", func(i int) outcome { return outcome{err: unix.Ftruncate(fd(i), off)} })
	case 9:
		w.both("truncate by path", func(i int) outcome {
			w.file(i, name)
			return outcome{err: unix.Truncate(filepath.Join(w.roots[i], name), off)}
		})
	case 10, 11:
		w.both("mapped write", func(i int) outcome { return w.mapped(i, name, data, off) })
	case 12:
		w.both("append", func(i int) outcome {
			f, err := os.OpenFile(filepath.Join(w.roots[i], name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
			if err != nil {
				return outcome{err: err}
			}
			defer f.Close()
			n, err := f.Write(data[:min(size, 1000)])
			return outcome{n: int64(n), err: err}
		})
	case 13:
		mode := []uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE}[w.draw.IntN(4)]
		w.both("fallocate", func(i int) outcome { return outcome{err: unix.Fallocate(fd(i), mode, off, size)} })
	case 14:
		w.both("copy", func(i int) outcome {
			from, to := off, twinBytes-off
			n, err := unix.CopyFileRange(fd(i), &from, int(w.file(i, other).Fd()), &to, int(min(size, max(0, to-from))), 0)
			return outcome{n: int64(n), err: err}
		})
	case 15:
		w.both("rename", func(i int) outcome {
			delete(w.open[i], other) // it stays open, without a name
			err := os.Rename(w.file(i, name).Name(), filepath.Join(w.roots[i], other))
			_ = w.closeOne(i, name)
			return outcome{err: err}
		})
	case 16:
		w.both("close", func(i int) outcome { return outcome{err: w.closeOne(i, name)} })
	case 17:
		w.both("seek", func(i int) outcome {
			return seek(fd(i), off, []int{unix.SEEK_DATA, unix.SEEK_HOLE, unix.SEEK_END}[size%3])
		})
	case 18:
		w.both("fsync", func(i int) outcome { return outcome{err: unix.Fsync(fd(i))} })
	case 19:
		w.both("unlink and go on", func(i int) outcome {
			w.file(i, name)
			if err := os.Remove(filepath.Join(w.roots[i], name)); err != nil {
				return outcome{err: err}
			}
			n, err := unix.Pwrite(fd(i), data, off)
			var st unix.Stat_t
			err = errors.Join(err, unix.Fstat(fd(i), &st), w.closeOne(i, name))
			return outcome{n: int64(n) + st.Size, err: err}
		})
	}
}

// seek seeks. Where a file has holes is its file system's affair, and may differ from one
// moment to the next: what it calls none of the data has to read as zeros.
func seek(fd int, off int64, whence int) outcome {
	n, err := unix.Seek(fd, off, whence)
	size, serr := unix.Seek(fd, 0, unix.SEEK_END)
	if whence == unix.SEEK_END || off >= size || serr != nil {
		return outcome{n: n, err: errors.Join(err, serr)}
	}
	from, to := off, n // where there is no data
	switch {
	case whence == unix.SEEK_DATA && errors.Is(err, unix.ENXIO):
		to = size
	case err != nil:
		return outcome{err: err}
	case whence == unix.SEEK_HOLE:
		from, to = n, min(size, n+1)
	}
	b := make([]byte, to-from)
	if _, err := unix.Pread(fd, b, from); err != nil {
		return outcome{err: err}
	}
	if len(bytes.Trim(b, "\x00")) > 0 {
		return outcome{err: fmt.Errorf("no data from %d to %d, but not zeros", from, to)}
	}
	return outcome{}
}

// mapped writes through a mapping, and reads what that did with a read.
func (w *twin) mapped(i int, name string, data []byte, off int64) outcome {
	fd := int(w.file(i, name).Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size == 0 {
		return outcome{n: st.Size, err: err}
	}
	m, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return outcome{err: err}
	}
	off %= st.Size
	copy(m[off:], data)
	seen := make([]byte, len(data))
	n, err := unix.Pread(fd, seen, off)
	return outcome{int64(n), seen, errors.Join(err, unix.Munmap(m))}
}

func (w *twin) closeOne(i int, name string) error {
	f := w.open[i][name]
	delete(w.open[i], name)
	if f == nil {
		return nil
	}
	return f.Close()
}

func (w *twin) close() {
	for i := range w.open {
		for name := range w.open[i] {
			if err := w.closeOne(i, name); err != nil {
				w.t.Error(err)
			}
		}
	}
}

// compare compares the directories: names, sizes, modes, contents.
func (w *twin) compare() {
	w.t.Helper()
	w.both("compare", func(i int) outcome {
		entries, err := os.ReadDir(w.roots[i])
		var all bytes.Buffer
		for _, e := range entries {
			info, e1 := e.Info()
			content, e2 := os.ReadFile(filepath.Join(w.roots[i], e.Name()))
			if err = errors.Join(err, e1, e2); err != nil {
				return outcome{err: err}
			}
			fmt.Fprintln(&all, e.Name(), info.Size(), info.Mode())
			all.Write(content)
		}
		return outcome{n: int64(len(entries)), data: all.Bytes(), err: err}
	})
}
