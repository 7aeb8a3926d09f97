package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
)

// assembly is a record of which not all chunks are here yet.
type assembly struct {
	transfer uint64
	chunks   [][]byte
	missing  int
}

// assemble adds a chunk and returns the record if it is whole. Of each peer the
// newest transfers are kept.
func assemble(parts map[string][]*assembly, from string, c chunk) (*received, error) {
	if c.of == 1 {
		return decodeReceived(from, c.flags, c.part)
	}
	i := slices.IndexFunc(parts[from], func(a *assembly) bool { return a.transfer == c.transfer })
	if i < 0 {
		if len(parts[from]) >= transfers {
			parts[from] = slices.Delete(parts[from], 0, 1)
		}
		i = len(parts[from])
		parts[from] = append(parts[from], &assembly{transfer: c.transfer, chunks: make([][]byte, c.of), missing: c.of})
	}
	a := parts[from][i]
	if len(a.chunks) != c.of {
		return nil, fmt.Errorf("%w: chunk of %d in a transfer of %d", errMessage, c.of, len(a.chunks))
	}
	if a.chunks[c.index] == nil {
		a.chunks[c.index] = c.part
		a.missing--
	}
	if a.missing > 0 {
		return nil, nil
	}
	parts[from] = slices.Delete(parts[from], i, i+1)
	return decodeReceived(from, c.flags, bytes.Join(a.chunks, nil))
}

func decodeReceived(from string, flags byte, b []byte) (*received, error) {
	r := &received{from: from, flags: flags}
	p := &r.proof
	short := len(b) < len(p.signer)
	if !short {
		b = b[copy(p.signer[:], b):]
	}
	for _, part := range []*[]byte{&p.signature, &p.certificate} {
		const head = 2
		if short = short || len(b) < head || len(b)-head < int(binary.BigEndian.Uint16(b)); short {
			return nil, fmt.Errorf("%w: record without its proof", errMessage)
		}
		n := head + int(binary.BigEndian.Uint16(b))
		if n > head {
			*part = b[head:n:n]
		}
		b = b[n:]
	}
	if err := json.Unmarshal(b, &r.Record); err != nil {
		return nil, fmt.Errorf("%w: record: %w", errMessage, err)
	}
	return r, nil
}
