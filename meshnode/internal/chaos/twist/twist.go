// Package twist makes messages of a member that runs other code: what an enrolled node
// may say and an honest one never does. It is a part of the test kit.
package twist

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
)

// names are what stands where a name, an id or an origin should.
var names = []string{"", "\xff\xfe", "<<<<<<<<<<<<", "a\x00b", "mesh-node-z-9", "mesh-node-z-9/00000000000000ff", "UPPER", string(make([]byte, 70))}

// Messages returns copies of a message with one field hostile each. It knows no format: a
// field is a value of JSON, where the message holds one, and any byte or eight in a row
// otherwise. At most n are returned.
func Messages(rng *rand.Rand, payload []byte, n int) [][]byte {
	var all [][]byte
	for cut := range len(payload) {
		all = append(all, payload[:cut])
	}
	for i := range payload {
		for _, v := range []byte{0, 1, 0x7f, 0xff} {
			b := slices.Clone(payload)
			b[i] = v
			all = append(all, b)
		}
		for _, v := range []byte{0, 0xff} {
			b := slices.Clone(payload)
			for j := i; j < min(i+8, len(b)); j++ {
				b[j] = v
			}
			all = append(all, b)
		}
		for _, s := range names {
			all = append(all, slices.Replace(slices.Clone(payload), i, min(i+len(s), len(payload)), []byte(s)...))
		}
	}
	all = append(all, append(slices.Clone(payload), payload...))
	if len(all) > n {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:n]
	}
	// What JSON a message holds starts within its first bytes; all of its fields count.
	for start := range min(13, len(payload)) {
		var v any
		if payload[start] == '{' && json.Unmarshal(payload[start:], &v) == nil {
			for _, t := range values(v) {
				if b, err := json.Marshal(t); err == nil {
					all = append(all, append(slices.Clone(payload[:start]), b...))
				}
			}
			break
		}
	}
	return all
}

// values returns copies of a JSON value with one leaf or key hostile each.
func values(v any) []any {
	var all []any
	switch v := v.(type) {
	case map[string]any:
		for k, field := range v {
			for _, t := range values(field) {
				c := maps.Clone(v)
				c[k] = t
				all = append(all, c)
			}
			for _, s := range names {
				c := maps.Clone(v)
				delete(c, k)
				c[s] = field
				all = append(all, c)
			}
		}
	case []any:
		for i, field := range v {
			for _, t := range values(field) {
				c := slices.Clone(v)
				c[i] = t
				all = append(all, c)
			}
		}
		all = append(all, nil, []any{})
	default:
		for _, s := range names {
			all = append(all, s)
		}
		all = append(all, nil, true, -1, 0, math.MaxInt64, uint64(math.MaxUint64), uint64(math.MaxUint64-1), 1e300, []any{}, map[string]any{})
	}
	return all
}
