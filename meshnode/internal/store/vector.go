package store

import (
	"fmt"
	"maps"
	"slices"
)

// Span is the sequences from its first to its last number.
type Span [2]uint64

// Extent is the sequences of one origin that a store holds: spans in order that
// neither overlap nor touch. It has more than one span while records are under
// way, and for good if the others went down with their only disk.
type Extent []Span

// Vector says what a store holds, by origin.
type Vector map[string]Extent

// find returns the index of the first span that ends at seq or after it.
func (e Extent) find(seq uint64) int {
	i, _ := slices.BinarySearchFunc(e, seq, func(s Span, n uint64) int {
		if s[1] < n {
			return -1
		}
		return 1
	})
	return i
}

func (e Extent) holds(seq uint64) bool {
	i := e.find(seq)
	return i < len(e) && e[i][0] <= seq
}

// last is the highest sequence, 0 if there is none.
func (e Extent) last() uint64 {
	if len(e) == 0 {
		return 0
	}
	return e[len(e)-1][1]
}

// with returns e with seq, which it must not hold; it may reuse e's memory.
func (e Extent) with(seq uint64) Extent {
	i := e.find(seq)
	after := i < len(e) && e[i][0] == seq+1
	before := i > 0 && e[i-1][1] == seq-1
	switch {
	case before && after:
		e[i-1][1] = e[i][1]
		return slices.Delete(e, i, i+1)
	case before:
		e[i-1][1] = seq
	case after:
		e[i][0] = seq
	default:
		return slices.Insert(e, i, Span{seq, seq})
	}
	return e
}

// without returns the sequences of e that o does not hold.
func (e Extent) without(o Extent) Extent {
	var rest Extent
	for _, s := range e {
		for i := o.find(s[0]); i < len(o) && o[i][0] <= s[1]; i++ {
			if o[i][0] > s[0] {
				rest = append(rest, Span{s[0], o[i][0] - 1})
			}
			if s[0] = o[i][1] + 1; s[0] > s[1] || s[0] == 0 {
				break
			}
		}
		if s[0] != 0 && s[0] <= s[1] {
			rest = append(rest, s)
		}
	}
	return rest
}

// check says whether e, which came from elsewhere, is an extent.
func (e Extent) check() error {
	last := uint64(0)
	for i, s := range e {
		if s[0] == 0 || s[1] < s[0] || s[1] > maxSeq || i > 0 && s[0] <= last+1 {
			return fmt.Errorf("%w: spans %v", errMessage, e)
		}
		last = s[1]
	}
	return nil
}

// summary is a part of a store's vector: what it holds of the origins after one
// and through another, in alphabetical order. An empty Through is the end.
type summary struct {
	After   string `json:"after,omitempty"`
	Through string `json:"through,omitempty"`
	Have    Vector `json:"have"`
	// Refused is what the receiver has sent and the sender cannot take.
	Refused Vector `json:"refused,omitempty"`
}

func (s *summary) covers(origin string) bool {
	return origin > s.After && (s.Through == "" || origin <= s.Through)
}

// lacks reports whether a peer's summary names a record that is neither mine nor refused.
func (v Vector) lacks(peer *summary, refused Vector) bool {
	for origin, e := range peer.Have {
		if len(e.without(v[origin]).without(refused[origin])) > 0 {
			return true
		}
	}
	return false
}

// stretch is several records of an origin in a row.
type stretch struct {
	origin string
	span   Span
}

// lacking returns what a store with the given summary lacks of this one's and has not
// refused, of the origins that the summary covers.
func (v Vector) lacking(peer *summary) (all []stretch) {
	for _, origin := range slices.Sorted(maps.Keys(v)) {
		if !peer.covers(origin) {
			continue
		}
		for _, span := range v[origin].without(peer.Have[origin]).without(peer.Refused[origin]) {
			all = append(all, stretch{origin, span})
		}
	}
	return all
}

const (
	// summarySize is about how large one summary becomes, in bytes of JSON; well
	// below what one message carries.
	summarySize = 12 << 10
	// maxSpans is how many spans of one origin a summary names: what is left out
	// is sent once more.
	maxSpans = 128
)

// summaries splits v, and what was refused of the peer that it is for, so that each part
// fits into a message. Every node that lost its disk left an origin behind: there may be many.
func (v Vector) summaries(refused Vector) []summary {
	const number, overhead = 21, 8 // bytes of JSON at most
	parts := []summary{{Have: Vector{}}}
	size, last := 0, ""
	origins := slices.AppendSeq(slices.Collect(maps.Keys(v)), maps.Keys(refused))
	slices.Sort(origins)
	for _, origin := range slices.Compact(origins) {
		have, not := v[origin], refused[origin]
		have, not = have[:min(len(have), maxSpans)], not[:min(len(not), maxSpans)]
		n := 2*(len(origin)+overhead) + (len(have)+len(not))*(2*number+overhead)
		part := &parts[len(parts)-1]
		if size > 0 && size+n > summarySize {
			part.Through = last
			parts = append(parts, summary{After: last, Have: Vector{}})
			part, size = &parts[len(parts)-1], 0
		}
		if len(have) > 0 {
			part.Have[origin] = have
		}
		if len(not) > 0 {
			if part.Refused == nil {
				part.Refused = Vector{}
			}
			part.Refused[origin] = not
		}
		size += n
		last = origin
	}
	return parts
}
