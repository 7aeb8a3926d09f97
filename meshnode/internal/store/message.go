package store

import (
	"crypto/sha256"
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

// DataAck frames carry: sequence u64, digest of the record [16], origin.

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
	return &s, b[1], s.check()
}

// position names a record by the store that accepted it.
type position struct {
	origin string
	seq    uint64
}

// digest says what a record holds: the first half of the SHA-256 hash of all of it.
type digest [16]byte

func (r *Record) digest() digest {
	var b []byte
	for _, s := range []string{r.Origin, r.ID} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Time.Nanosecond()))
	sum := sha256.Sum256(append(b, r.Body...))
	return digest(sum[:])
}

func encodeAck(r *Record) []byte {
	d := r.digest()
	return append(append(binary.BigEndian.AppendUint64(nil, r.Seq), d[:]...), r.Origin...)
}

func decodeAck(b []byte) (position, digest, error) {
	const head = 8 + len(digest{})
	if len(b) <= head || len(b) > head+maxOrigin {
		return position{}, digest{}, fmt.Errorf("%w: acknowledgement of %d bytes", errMessage, len(b))
	}
	p := position{string(b[head:]), binary.BigEndian.Uint64(b)}
	if _, ok := validOrigin(p.origin); !ok || p.seq == 0 || p.seq > maxSeq {
		return position{}, digest{}, fmt.Errorf("%w: acknowledgement of %.40q, %d", errMessage, p.origin, p.seq)
	}
	return p, digest(b[8:head]), nil
}
