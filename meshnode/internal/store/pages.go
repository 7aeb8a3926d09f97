package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"time"

	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// bbolt maps its file and trusts what it finds there: a damaged page makes it
// panic, fault or loop. So every page is checked before bbolt sees it, through
// plain reads, each page once. The layout is that of bbolt's file format 2, in
// the machine's byte order.
const (
	pageHeader   = 16 // id u64, flags u16, count u16, overflow u32
	pageElement  = 16 // branch: position u32, key u32, page u64; leaf: flags, position, key, value u32
	bucketHeader = 16 // root u64, sequence u64; root 0: the bucket's only page follows

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketEntry  = 0x01

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSum     = 56 // bytes before the checksum
	noFreelist  = ^uint64(0)
	maxDepth    = 64
)

var order = binary.NativeEndian

// openChecked opens, locks and checks the file; it is bbolt's OpenFile.
func openChecked(path string, flag int, mode os.FileMode, patience time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	if err := lock(f, patience); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	st, err := f.Stat()
	if err == nil && st.Size() > 0 {
		err = checkPages(f, st.Size())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lock locks f as bbolt does, which finds it locked by itself then.
func lock(f *os.File, patience time.Duration) error {
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if time.Since(start) >= patience {
			return fmt.Errorf("another process has it open: %w", berrors.ErrTimeout)
		}
	}
}

func checkPages(f io.ReaderAt, fileSize int64) error {
	size, meta, err := newestMeta(f, fileSize)
	if err != nil {
		return err
	}
	root, freelist, high := order.Uint64(meta[16:]), order.Uint64(meta[32:]), order.Uint64(meta[40:])
	if high < 4 || high > uint64(fileSize)/size {
		return damaged("it is cut off: %d bytes for %d pages of %d", fileSize, high, size)
	}
	c := &pageCheck{f: f, size: size, high: high, used: make([]bool, high)}
	c.used[0], c.used[1] = true, true
	if _, err := c.tree(root, nil, true, 0); err != nil {
		return err
	}
	if freelist == noFreelist {
		return nil
	}
	if err := c.freelist(freelist); err != nil {
		return err
	}
	if i := slices.Index(c.used, false); i >= 0 {
		return damaged("page %d is neither free nor used", i)
	}
	return nil
}

// newestMeta returns the page size and the content of the newer valid meta page.
func newestMeta(f io.ReaderAt, fileSize int64) (size uint64, newest []byte, err error) {
	read := func(off int64) []byte {
		b := make([]byte, metaSum+8)
		if _, err := f.ReadAt(b, off+pageHeader); err != nil {
			return nil
		}
		h := fnv.New64a()
		h.Write(b[:metaSum])
		if order.Uint32(b) != metaMagic || order.Uint32(b[4:]) != metaVersion || order.Uint64(b[metaSum:]) != h.Sum64() {
			return nil
		}
		return b
	}
	const smallest, largest = 1 << 10, 16 << 20
	newest = read(0)
	for off := int64(smallest); off <= largest && off < fileSize; off *= 2 {
		b := read(off)
		if b == nil || int64(order.Uint32(b[8:])) != off || newest != nil && int64(order.Uint32(newest[8:])) != off {
			continue
		}
		if newest == nil || order.Uint64(b[48:]) > order.Uint64(newest[48:]) {
			newest = b
		}
		break
	}
	if newest == nil {
		return 0, nil, damaged("neither of its two heads is valid")
	}
	size = uint64(order.Uint32(newest[8:]))
	if size < smallest || size > largest || size&(size-1) != 0 {
		return 0, nil, damaged("pages of %d bytes", size)
	}
	return size, newest, nil
}
