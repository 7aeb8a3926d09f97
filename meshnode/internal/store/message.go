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
	// the record: certificate id [32], signature u16 length and bytes,
	// certificate u16 length and bytes (none if the receiver has confirmed a record
	// under it, or it came just before), JSON.
	kindRecord = 1
	// kindVector: flags u8, then a summary as JSON.
	kindVector = 2
	// kindWant: sequence u64, origin. It asks for a record with the certificate of its
	// signer.
	kindWant = 3
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
	// maxChunks holds the largest record: its body in base64, its names and its proof.
	maxChunks = 6
)

var errMessage = errors.New("store: malformed message")

// encodeRecord returns the messages that carry r.
func encodeRecord(r *Record, transfer uint64, flags byte) ([][]byte, error) {
	content, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	b := append([]byte(nil), r.proof.signer[:]...)
	for _, part := range [][]byte{r.proof.signature, r.proof.certificate} {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(part))), part...)
	}
	b = append(b, content...)
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

func (r *Record) position() position { return position{r.Origin, r.Seq} }

func encodeWant(p position) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{kindWant}, p.seq), p.origin...)
}

func decodeWant(b []byte) (position, error) {
	const head = 1 + 8
	if len(b) <= head || len(b) > head+maxOrigin || b[0] != kindWant {
		return position{}, fmt.Errorf("%w: question of %d bytes", errMessage, len(b))
	}
	p := position{string(b[head:]), binary.BigEndian.Uint64(b[1:])}
	return p, p.check()
}

func (p position) check() error {
	if _, ok := validOrigin(p.origin); !ok || p.seq == 0 || p.seq > maxSeq {
		return fmt.Errorf("%w: record %d of %.40q", errMessage, p.seq, p.origin)
	}
	return nil
}

// digest says what a record holds: the first half of what its origin signs.
type digest [16]byte

func (r *Record) digest() digest {
	sum := r.statement()
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
	return p, digest(b[8:head]), p.check()
}
