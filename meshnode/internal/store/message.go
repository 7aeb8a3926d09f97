package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// The payloads of Data frames start with one of these bytes.
const (
	// kindRecord: flags u8, transfer u64, chunk u8, chunks u8, then a part of
	// the record as JSON.
	kindRecord = 1
	// kindVector: flags u8, then a summary as JSON.
	kindVector = 2
)

// Flags.
const (
	// flagReply asks for the receiver's vector, in a record once it is stored.
	flagReply = 1
	// flagEcho asks for the receiver's vector in any case.
	flagEcho = 2
)

// DataAck frames carry: sequence u64, origin.

const (
	chunkHeader = 12
	// chunkSize is the largest part of a record in one message, in bytes.
	chunkSize = 16 << 10
	// maxChunks holds the largest record: its body in base64, and its names.
	maxChunks = 6
)

var errMessage = errors.New("store: malformed message")

// encodeRecord returns the messages that carry r.
func encodeRecord(r *Record, transfer uint64, flags byte) ([][]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	chunks := (len(b) + chunkSize - 1) / chunkSize
	if chunks > maxChunks {
		return nil, fmt.Errorf("record %q of %d bytes: %w", r.ID, len(b), errMessage)
	}
	messages := make([][]byte, chunks)
	for i := range messages {
		part := b[i*chunkSize : min((i+1)*chunkSize, len(b))]
		m := append(make([]byte, 0, chunkHeader+len(part)), kindRecord, flags)
		m = binary.BigEndian.AppendUint64(m, transfer)
		m = append(m, byte(i), byte(chunks))
		messages[i] = append(m, part...)
	}
	return messages, nil
}

type chunk struct {
	flags     byte
	transfer  uint64
	index, of int
	part      []byte
}

func decodeChunk(b []byte) (chunk, error) {
	if len(b) <= chunkHeader || len(b) > chunkHeader+chunkSize || b[0] != kindRecord {
		return chunk{}, fmt.Errorf("%w: record of %d bytes", errMessage, len(b))
	}
	c := chunk{flags: b[1], transfer: binary.BigEndian.Uint64(b[2:]), index: int(b[10]), of: int(b[11]), part: b[chunkHeader:]}
	if c.of == 0 || c.of > maxChunks || c.index >= c.of || c.index < c.of-1 && len(c.part) != chunkSize {
		return chunk{}, fmt.Errorf("%w: chunk %d of %d", errMessage, c.index, c.of)
	}
	return c, nil
}

func encodeSummary(s *summary, flags byte) ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return append([]byte{kindVector, flags}, b...), nil
}

func decodeSummary(b []byte) (*summary, byte, error) {
	var s summary
	if len(b) < 2 || b[0] != kindVector {
		return nil, 0, fmt.Errorf("%w: vector of %d bytes", errMessage, len(b))
	}
	if err := json.Unmarshal(b[2:], &s); err != nil {
		return nil, 0, fmt.Errorf("%w: vector: %w", errMessage, err)
	}
	for _, e := range s.Have {
		if err := e.check(); err != nil {
			return nil, 0, err
		}
	}
	return &s, b[1], nil
}

// position names a record by the store that accepted it.
type position struct {
	origin string
	seq    uint64
}

func (p position) encode() []byte {
	return append(binary.BigEndian.AppendUint64(nil, p.seq), p.origin...)
}

func decodePosition(b []byte) (position, error) {
	if len(b) <= 8 || len(b) > 8+maxOrigin {
		return position{}, fmt.Errorf("%w: acknowledgement of %d bytes", errMessage, len(b))
	}
	return position{string(b[8:]), binary.BigEndian.Uint64(b)}, nil
}
