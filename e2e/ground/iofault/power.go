package iofault

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"
)

const (
	pageBytes   = 4096 // what a page cache writes back at once
	sectorBytes = 512  // what a disk writes whole or not at all
	whole       = 1 << 62
)

// power remembers of every file what a loss of power would take: the pages that were
// written and not made durable, as they are on the disk. The volume has the new ones;
// a loss puts old ones back. Names are durable at once, as under a journal that
// was just written.
type power struct {
	held  sync.RWMutex // for writing by a loss, for reading by what it must not cut in two
	mu    sync.Mutex   // of files
	files map[inode]*volatile
	lost  bool // under held
}

type inode struct{ dev, ino uint64 }

// volatile is a file of which not everything is durable.
type volatile struct {
	file    *os.File   // for reading and writing
	syncing sync.Mutex // of who makes it durable: one at a time

	mu    sync.Mutex
	size  int64            // durable
	pages map[int64][]byte // by number: what the disk has, shorter at its end

	// While it is being made durable: the pages that are, and the size that will be.
	// The power can be lost in the middle of it, and what is written meanwhile is not part of it.
	hardening map[int64][]byte
	next      int64
}

func newPower() *power { return &power{files: map[inode]*volatile{}} }

// of returns the memory of the open file fd.
func (p *power) of(fd int) (*volatile, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	id := inode{st.Dev, st.Ino}
	if v := p.files[id]; v != nil {
		return v, nil
	}
	// fd may be for writing only, and is closed before the power is lost.
	file, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	v := &volatile{file: file, size: st.Size, pages: map[int64][]byte{}}
	p.files[id] = v
	return v, nil
}

// change runs write, which changes size bytes from off on, or cuts or extends the file
// to off if size is 0.
func (p *power) change(fd int, off, size int64, write func() syscall.Errno) syscall.Errno {
	p.held.RLock()
	defer p.held.RUnlock()
	if p.lost {
		return syscall.EIO
	}
	v, err := p.of(fd)
	if err != nil {
		return fs.ToErrno(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	end := off + size
	if size == 0 || end < 0 {
		end = whole
	}
	if err := v.keep(off, end); err != nil {
		return fs.ToErrno(err)
	}
	return write()
}

// resizePath is change for a file that is not open.
func (p *power) resizePath(path string, size int64, resize func() syscall.Errno) syscall.Errno {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fs.ToErrno(err)
	}
	defer f.Close()
	return p.change(int(f.Fd()), size, 0, resize)
}

// keep remembers the pages from off to end, as far as they are durable and not yet
// remembered. Those behind the durable end of the file have nothing to remember.
func (v *volatile) keep(off, end int64) error {
	limit := max(v.size, v.next)
	for page := off / pageBytes; page*pageBytes < end; page++ {
		if _, kept := v.pages[page]; kept {
			continue
		}
		if page*pageBytes >= limit {
			// Nothing of it is durable. It is noted as far as it is about to be
			// written, so that a loss can tear it.
			if end == whole {
				return nil
			}
			v.pages[page] = nil
			continue
		}
		old := make([]byte, min(pageBytes, limit-page*pageBytes))
		n, err := v.file.ReadAt(old, page*pageBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		v.pages[page] = old[:n]
	}
	return nil
}

// harden runs sync and, if it succeeds, takes the pages from off to off+size for durable.
func (p *power) harden(fd int, off, size int64, sync func() syscall.Errno) syscall.Errno {
	v, err := p.begin(fd, off, off+size)
	if err != nil {
		return fs.ToErrno(err)
	}
	defer v.syncing.Unlock()
	errno := sync()
	p.held.RLock()
	defer p.held.RUnlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	if p.lost {
		return syscall.EIO // what was under way is lost, or not: nobody is told
	}
	if errno == 0 {
		v.size = v.next
	} else {
		maps.Copy(v.pages, v.hardening) // the older is what the disk has
	}
	v.hardening, v.next = nil, 0
	return errno
}

// begin sets apart the pages from off to end. Until syncing is unlocked nobody else does.
func (p *power) begin(fd int, off, end int64) (*volatile, error) {
	v, err := p.of(fd)
	if err != nil {
		return nil, err
	}
	v.syncing.Lock()
	p.held.RLock()
	defer p.held.RUnlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	info, err := v.file.Stat()
	if p.lost {
		err = syscall.EIO
	}
	if err != nil {
		v.syncing.Unlock()
		return nil, err
	}
	if v.next = info.Size(); end < whole {
		v.next = min(info.Size(), max(v.size, end))
	}
	v.hardening = map[int64][]byte{}
	for page, old := range v.pages {
		if page >= off/pageBytes && page*pageBytes < end {
			v.hardening[page] = old
			delete(v.pages, page)
		}
	}
	return v, nil
}

// Loss is what a loss of power did, in pages of 4096 bytes.
type Loss struct {
	Files int `json:"files"` // with anything that was not durable
	Lost  int `json:"lost"`  // pages
	Torn  int `json:"torn"`  // pages: some sectors new, the others old
	Kept  int `json:"kept"`  // pages that reached the disk all the same
	Short int `json:"short"` // files that have their old size again
}

// lose takes the power away: of what was not durable each page is lost, torn or kept, as
// seed wills, whatever the order in which they were written. Nothing may be changed any more.
func (p *power) lose(seed uint64) (loss Loss, err error) {
	p.held.Lock()
	defer p.held.Unlock()
	p.lost = true
	draw := rand.New(rand.NewPCG(seed, 0))
	ids := slices.SortedFunc(maps.Keys(p.files), func(a, b inode) int {
		return cmp.Or(cmp.Compare(a.dev, b.dev), cmp.Compare(a.ino, b.ino))
	})
	for _, id := range ids {
		v := p.files[id]
		maps.Copy(v.pages, v.hardening) // the older is what the disk has
		err = errors.Join(err, v.lose(draw, &loss), v.file.Close())
	}
	p.files = map[inode]*volatile{}
	return loss, err
}

func (v *volatile) lose(draw *rand.Rand, loss *Loss) error {
	info, err := v.file.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if len(v.pages) > 0 || size != v.size {
		loss.Files++
	}
	for _, page := range slices.Sorted(maps.Keys(v.pages)) {
		sectors := make([]bool, pageBytes/sectorBytes) // that are lost
		switch draw.IntN(3) {
		case 0:
			loss.Kept++
		case 1:
			loss.Lost++
			for i := range sectors {
				sectors[i] = true
			}
		case 2:
			loss.Torn++
			for i := range sectors {
				sectors[i] = draw.IntN(2) == 0
			}
			sectors[draw.IntN(len(sectors))] = true
		}
		old := make([]byte, pageBytes) // behind the durable end a disk has nothing: zeros
		copy(old, v.pages[page])
		for i, lost := range sectors {
			if !lost {
				continue
			}
			at := page*pageBytes + int64(i)*sectorBytes
			if _, err := v.file.WriteAt(old[i*sectorBytes:(i+1)*sectorBytes], at); err != nil {
				return err
			}
		}
	}
	// The size is one field of the inode: the old one or the new.
	if size != v.size && draw.IntN(2) == 0 {
		loss.Short++
		size = v.size
	}
	if err := v.file.Truncate(size); err != nil { // sectors were written whole, past the end too
		return err
	}
	return v.file.Sync()
}
