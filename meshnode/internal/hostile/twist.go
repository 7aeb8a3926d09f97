// Package hostile makes what a hostile member says out of what an honest one does. It is for
// tests: of whole nodes, one of which lies, and as the corpus of fuzz tests of decoders.
package hostile

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
)

// Strings are what stands where a name, an id or an origin should.
func Strings() []string {
	return []string{"", "\xff\xfe", "<<<<<<<<<<<<", "a\x00b", "mesh-node-z-9", "mesh-node-z-9/00000000000000ff", "UPPER", string(make([]byte, 70))}
}

// Twist returns copies of a message with one field hostile each. It knows no format: a
// field is any byte or eight in a row, of which at most n copies are returned, and every
// value of the JSON that the message ends with, if it does.
func Twist(rng *rand.Rand, payload []byte, n int) [][]byte {
	variants := len(payload)*(1+perByte()) + 1
	chosen := rng.Perm(variants)
	if variants <= n {
		slices.Sort(chosen)
	}
	var all [][]byte
	for _, i := range chosen[:min(n, variants)] {
		all = append(all, variant(payload, i))
	}
	for start, c := range payload {
		var v any
		if c == '{' && json.Unmarshal(payload[start:], &v) == nil {
			for _, t := range twistValue(v) {
				if b, err := json.Marshal(t); err == nil {
					all = append(all, append(slices.Clone(payload[:start]), b...))
				}
			}
			break
		}
	}
	return all
}

// What is put in the place of a byte, and of eight, and of a length that as much follows.
var (
	single = []byte{0, 1, 0x7f, 0xff}
	eight  = []byte{0, 0xff}
	long   = []byte{0xfe, 0xff}
)

func perByte() int { return len(single) + len(eight) + len(Strings()) + len(long) }

// lengthen returns a message in which a byte is a length, and as much and more follows.
func lengthen(payload []byte, at int, length byte) []byte {
	b := append(slices.Clone(payload), make([]byte, 300)...)
	b[at] = length
	return b
}

// Lengths returns copies of a message in which each of its first bytes, where names and their
// lengths are, is as large a length as there is, and as much follows.
func Lengths(payload []byte) [][]byte {
	var all [][]byte
	for at := range min(len(payload), 16) {
		for _, length := range long {
			all = append(all, lengthen(payload, at, length))
		}
	}
	return all
}

// variant returns one of the copies: first those that are cut off, then those with a place
// replaced, then the message twice.
func variant(payload []byte, i int) []byte {
	if i < len(payload) {
		return payload[:i]
	}
	i -= len(payload)
	at, kind := i/perByte(), i%perByte()
	b := slices.Clone(payload)
	switch {
	case at >= len(payload):
		return append(b, payload...)
	case kind < len(single):
		b[at] = single[kind]
		return b
	case kind < len(single)+len(eight):
		for j := at; j < min(at+8, len(b)); j++ {
			b[j] = eight[kind-len(single)]
		}
		return b
	}
	kind -= len(single) + len(eight)
	if kind < len(long) {
		return lengthen(payload, at, long[kind])
	}
	s := Strings()[kind-len(long)]
	return slices.Replace(b, at, min(at+len(s), len(b)), []byte(s)...)
}

// twistValue returns copies of a JSON value with one leaf or key hostile each.
func twistValue(v any) []any {
	var all []any
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			field := v[k]
			for _, t := range twistValue(field) {
				c := maps.Clone(v)
				c[k] = t
				all = append(all, c)
			}
			for _, s := range Strings() {
				c := maps.Clone(v)
				delete(c, k)
				c[s] = field
				all = append(all, c)
			}
		}
	case []any:
		for i, field := range v {
			for _, t := range twistValue(field) {
				c := slices.Clone(v)
				c[i] = t
				all = append(all, c)
			}
		}
		all = append(all, nil, []any{})
	default:
		for _, s := range Strings() {
			all = append(all, s)
		}
		all = append(all, nil, true, -1, 0, math.MaxInt64, uint64(math.MaxUint64), uint64(math.MaxUint64-1), 1e300, []any{}, map[string]any{})
	}
	return all
}

// Corpus returns the messages themselves and copies of each with hostile fields and lengths: the
// same ones every time.
func Corpus(messages ...[]byte) [][]byte {
	const each = 24
	rng := rand.New(rand.NewPCG(7, 7))
	var all [][]byte
	for _, m := range messages {
		all = append(append(append(all, m), Twist(rng, m, each)...), Lengths(m)...)
	}
	return all
}
