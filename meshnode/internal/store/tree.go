package store

import (
	"bytes"
	"io"
)

type pageCheck struct {
	f    io.ReaderAt
	size uint64 // of a page
	high uint64 // page number above all that are in use
	used []bool
}

// claim returns a page with those that continue it; each may be claimed once.
func (c *pageCheck) claim(id uint64) ([]byte, error) {
	if id < 2 || id >= c.high {
		return nil, damaged("page %d of %d", id, c.high)
	}
	b := make([]byte, c.size)
	if _, err := c.f.ReadAt(b, int64(id*c.size)); err != nil {
		return nil, err
	}
	more := uint64(order.Uint32(b[12:]))
	if order.Uint64(b) != id || more >= c.high-id {
		return nil, damaged("page %d has a wrong head", id)
	}
	if more > 0 {
		b = make([]byte, (more+1)*c.size)
		if _, err := c.f.ReadAt(b, int64(id*c.size)); err != nil {
			return nil, err
		}
	}
	for i := id; i <= id+more; i++ {
		if c.used[i] {
			return nil, damaged("page %d is used twice", i)
		}
		c.used[i] = true
	}
	return b, nil
}

// tree checks the pages of a bucket from one down. Keys are at least low, above
// it unless first, and in order; the last one is returned.
func (c *pageCheck) tree(id uint64, low []byte, first bool, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, damaged("page %d lies too deep", id)
	}
	b, err := c.claim(id)
	if err != nil {
		return nil, err
	}
	if order.Uint16(b[8:]) == leafPage {
		return c.leaf(b, id, low, first, depth)
	}
	e, count := newEntries(b)
	if order.Uint16(b[8:]) != branchPage || count <= 0 {
		return nil, damaged("page %d is no branch", id)
	}
	for i := range count {
		head := e.head(i)
		key, _ := e.data(head, order.Uint32(head), order.Uint32(head[4:]), 0)
		if !follows(key, low, first && i == 0) {
			return nil, damaged("page %d: key %d", id, i)
		}
		if low, err = c.tree(order.Uint64(head[8:]), key, true, depth+1); err != nil {
			return nil, err
		}
	}
	return low, nil
}

func (c *pageCheck) leaf(b []byte, id uint64, low []byte, first bool, depth int) ([]byte, error) {
	e, count := newEntries(b)
	if count < 0 || count == 0 && low != nil { // only a bucket may be empty
		return nil, damaged("page %d has a wrong number of entries", id)
	}
	for i := range count {
		head := e.head(i)
		flags := order.Uint32(head)
		key, value := e.data(head, order.Uint32(head[4:]), order.Uint32(head[8:]), order.Uint32(head[12:]))
		if !follows(key, low, first && i == 0) || flags&^bucketEntry != 0 {
			return nil, damaged("page %d: entry %d", id, i)
		}
		low = key
		if flags == 0 {
			continue
		}
		if err := c.bucket(value, depth); err != nil {
			return nil, err
		}
	}
	return low, nil
}

func (c *pageCheck) bucket(value []byte, depth int) error {
	if len(value) < bucketHeader {
		return damaged("a bucket of %d bytes", len(value))
	}
	if root := order.Uint64(value); root != 0 {
		_, err := c.tree(root, nil, true, depth+1)
		return err
	}
	page := value[bucketHeader:]
	if len(page) < pageHeader || order.Uint16(page[8:]) != leafPage || depth > maxDepth {
		return damaged("a bucket without a page")
	}
	_, err := c.leaf(page, 0, nil, true, depth+1)
	return err
}

func (c *pageCheck) freelist(id uint64) error {
	b, err := c.claim(id)
	if err != nil {
		return err
	}
	count, ids := uint64(order.Uint16(b[10:])), b[pageHeader:]
	if count == 0xFFFF { // then the first number is the count
		count, ids = order.Uint64(ids), ids[8:]
	}
	if order.Uint16(b[8:]) != freelistPage || count > uint64(len(ids)/8) {
		return damaged("page %d is no list of %d free pages", id, count)
	}
	for i := range count {
		free := order.Uint64(ids[8*i:])
		if free < 2 || free >= c.high || c.used[free] {
			return damaged("page %d is both free and used", free)
		}
		c.used[free] = true
	}
	return nil
}

// entries are those of a page. bbolt packs their keys and values behind their
// heads without gaps, so that a wrong number of entries shows.
type entries struct {
	b    []byte
	next int // where the next entry's key begins
}

// newEntries returns a page's entries and their number, -1 if they cannot fit.
func newEntries(b []byte) (entries, int) {
	count := int(order.Uint16(b[10:]))
	e := entries{b, pageHeader + count*pageElement}
	if e.next > len(b) {
		return e, -1
	}
	return e, count
}

func (e *entries) head(i int) []byte { return e.b[pageHeader+i*pageElement:] }

// data returns the key of n bytes and the value of m that begin pos bytes after
// the head; nil if that is not where they belong.
func (e *entries) data(head []byte, pos, n, m uint32) (key, value []byte) {
	start := uint64(len(e.b)-len(head)) + uint64(pos)
	middle, end := start+uint64(n), start+uint64(n)+uint64(m)
	if start != uint64(e.next) || end > uint64(len(e.b)) {
		return nil, nil
	}
	e.next = int(end)
	return e.b[start:middle:middle], e.b[middle:end:end]
}

func follows(key, low []byte, first bool) bool {
	c := bytes.Compare(key, low)
	return len(key) > 0 && (c > 0 || first && c == 0)
}
