package hostile

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
)

// Record is a Data payload that carries a whole record; see package store.
type Record []byte

// The layout of its payload: kind, flags, transfer, chunk, chunks, the certificate's id.
const (
	kindRecord  = 1
	chunksAt    = 11
	signatureAt = 12 + 32
)

// IsRecord reports whether a Data payload is a Record.
func IsRecord(payload []byte) bool {
	return len(payload) > signatureAt && payload[0] == kindRecord && payload[chunksAt] == 1
}

// Rewritten returns the record with other content under the signature that it has.
func (r Record) Rewritten(change func(content map[string]any)) ([]byte, error) {
	at := signatureAt
	for range 2 { // signature and certificate, each after its length
		if len(r) < at+2 {
			return nil, errors.New("no record")
		}
		at += 2 + int(binary.BigEndian.Uint16(r[at:]))
	}
	var content map[string]any
	if err := json.Unmarshal(r[min(at, len(r)):], &content); err != nil {
		return nil, err
	}
	change(content)
	b, err := json.Marshal(content)
	return append(slices.Clone([]byte(r[:at])), b...), err
}
