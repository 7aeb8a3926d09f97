package hostile

import (
	"encoding/binary"
	"encoding/json"
	"slices"
)

// Sessions returns a message about client sessions of each kind, with every field that any kind
// has; see package home. A node sends some of them rarely.
func Sessions(from string) [][]byte {
	const id = "000102030405060708090a0b0c0d0e0f"
	ballot := map[string]any{"e": 3, "h": from}
	state := map[string]any{"i": id, "p": ballot, "a": ballot, "v": 2, "b": "c3RhdGU=", "t": 10}
	var all [][]byte
	for kind := 1; kind <= sessionKinds; kind++ {
		all = append(all, encode(nil, map[string]any{
			"k": kind, "i": id, "b": ballot, "p": ballot, "r": 1, "c": state, "hb": ballot, "hv": 1, "s": true, "n": true,
			"f": id, "m": true, "cs": []any{state}, "is": []any{id}, "h": from, "t": 9, "o": 3, "d": "c3RhdGU=", "w": 1,
			"a": map[string]any{"c": 1, "b": ballot, "v": 2, "d": "c3RhdGU=", "r": "a reason"},
		}))
	}
	return all
}

// NamesHome returns an answer about a session that says who has claimed it, under an epoch: any
// name, of which the receiver has no other word.
func NamesHome(from, session, home string, epoch uint64) []byte {
	return encode(nil, map[string]any{
		"k": kindPromise, "i": session, "b": map[string]any{"e": 1, "h": from}, "p": map[string]any{"e": epoch, "h": home},
	})
}

// kindPromise is the kind of an answer to a claim.
const kindPromise = 4

// sessionKinds is how many kinds of messages about sessions there are.
const sessionKinds = 9

// The kinds of what nodes ask each other about records.
const (
	kindVector = 2
	kindWant   = 3
)

// Questions returns what nodes ask each other about records: a summary with all its fields, and a
// question for one record; see package store.
func Questions(from string) [][]byte {
	origin := from + "/0123456789abcdef"
	spans := map[string]any{origin: []any{[]any{1, 4}, []any{7, 7}}}
	const flags = 3
	return [][]byte{
		encode([]byte{kindVector, flags}, map[string]any{"after": origin, "through": from + "/ff", "have": spans, "refused": spans}),
		append(binary.BigEndian.AppendUint64([]byte{kindWant}, 1), origin...),
	}
}

// IsSummary reports whether a Data payload is a summary.
func IsSummary(payload []byte) bool { return len(payload) > 2 && payload[0] == kindVector }

// Naming returns a summary that names three more records, of a store that need not be there.
func Naming(summary []byte, origin string) ([]byte, error) {
	var s map[string]any
	if err := json.Unmarshal(summary[2:], &s); err != nil {
		return nil, err
	}
	have, _ := s["have"].(map[string]any)
	if have == nil {
		have = map[string]any{}
	}
	have[origin] = []any{[]any{1, 3}}
	s["have"] = have
	return encode(slices.Clone(summary[:2]), s), nil
}

func encode(head []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("hostile: " + err.Error()) // there is nothing in it that JSON does not know
	}
	return append(head, b...)
}
