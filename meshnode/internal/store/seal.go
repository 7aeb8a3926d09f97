package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
)

// bbolt keeps no checksums of what it stores. Every value here carries one over
// its key and itself, so that a flipped bit is an error, never other content.
const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// DamagedError says that the database file cannot be what this program wrote.
type DamagedError struct {
	Path string // empty if the file's name is not known here
	What string
}

func (e *DamagedError) Error() string {
	path := e.Path
	if path == "" {
		path = File
	}
	return fmt.Sprintf("%s is damaged (%s): move it away and start again; the records come back from the peers, "+
		"except those that no peer has; do not put an older copy in its place", path, e.What)
}

func damaged(format string, args ...any) error {
	return &DamagedError{What: fmt.Sprintf(format, args...)}
}

func seal(k, v []byte) []byte {
	sum := crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v)
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, len(v)+sumSize), v...), sum)
}

// unseal returns the value in b, which it does not copy.
func unseal(k, b []byte) ([]byte, error) {
	n := len(b) - sumSize
	if n < 0 || crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, b[:n]) != binary.BigEndian.Uint32(b[n:]) {
		return nil, damaged("wrong checksum of entry %.*q", maxOrigin, k)
	}
	return b[:n], nil
}

func decodeRecord(k, b []byte, r *Record) error {
	b, err := unseal(k, b)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, r); err != nil {
		return damaged("record %.*q: %v", maxOrigin, k, err)
	}
	return nil
}
