package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// TestExtentIsASet compares Extent with a plain set of numbers.
func TestExtentIsASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 24
	for range 2000 {
		var e, o Extent
		set, other := map[uint64]bool{}, map[uint64]bool{}
		for _, i := range rng.Perm(n)[:rng.IntN(n)] {
			e, set[uint64(i)+1] = e.with(uint64(i)+1), true
		}
		for _, i := range rng.Perm(n)[:rng.IntN(n)] {
			o, other[uint64(i)+1] = o.with(uint64(i)+1), true
		}
		rest := e.without(o)
		for _, x := range []Extent{e, o, rest} {
			if err := x.check(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range uint64(n + 2) {
			if e.holds(i) != set[i] || rest.holds(i) != (set[i] && !other[i]) {
				t.Fatalf("%v without %v is %v: wrong about %d", e, o, rest, i)
			}
		}
		if want := uint64(0); len(set) > 0 {
			for i := range set {
				want = max(want, i)
			}
			if e.last() != want {
				t.Fatalf("last of %v is %d", e, e.last())
			}
		}
	}
	whole := Extent{{1, ^uint64(0)}}
	if got := whole.without(Extent{{5, ^uint64(0)}}); !slices.Equal(got, Extent{{1, 4}}) {
		t.Errorf("%v", got)
	}
}

// TestLacking: what a store lacks is what it neither has nor refuses, of the origins that its
// summary is about.
func TestLacking(t *testing.T) {
	v := Vector{"a/1": {{1, 3}, {7, 7}}, "b/1": {{2, 5}}, "d/1": {{1, 1}}}
	s := &summary{After: "a", Through: "c", Have: Vector{"b/1": {{3, 3}}}, Refused: Vector{"a/1": {{2, 7}}, "d/1": {{1, 1}}}}
	want := []stretch{{"a/1", Span{1, 1}}, {"b/1", Span{2, 2}}, {"b/1", Span{4, 5}}}
	if got := v.lacking(s); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestMalformedExtentsAreRefused(t *testing.T) {
	for _, e := range []Extent{{{0, 1}}, {{2, 1}}, {{1, 2}, {3, 4}}, {{5, 6}, {1, 2}}, {{1, ^uint64(0)}, {1, 2}}} {
		if e.check() == nil {
			t.Errorf("%v is taken", e)
		}
	}
}

// checkSummary panics if what was decoded cannot be handled.
func checkSummary(t *testing.T, s *summary) {
	v := Vector{"a": {{1, 3}}, "b/1": {{2, 9}}}
	v.lacks(s, s.Refused)
	for origin, e := range v {
		for _, span := range e.without(s.Have[origin]) {
			if !e.holds(span[0]) || !e.holds(span[1]) || s.Have[origin].holds(span[0]) {
				t.Errorf("%v without %v", e, s.Have[origin])
			}
		}
	}
}

// TestManyOriginsNeedSeveralMessages: each message fits, together they say all,
// and a part says nothing about the origins of others.
func TestManyOriginsNeedSeveralMessages(t *testing.T) {
	v := Vector{}
	for i := range 3000 {
		origin := fmt.Sprintf("mesh-node-a-%d/%016x", i%5, i)
		for seq := uint64(1); seq < uint64(2*i%7+3); seq += 2 {
			v[origin] = v[origin].with(seq)
		}
	}
	ragged := Extent{}
	for i := range uint64(10 * maxSpans) {
		ragged = ragged.with(2*i + 1)
	}
	v["ragged/1"] = ragged
	refused := Vector{"a/1": {{1, 9}}, "z/1": ragged}
	for origin := range v {
		refused[origin] = Extent{{5000, 6000}}
	}
	parts := v.summaries(refused)
	if len(parts) < 2 {
		t.Fatalf("%d parts", len(parts))
	}
	const room = 16 * 1300 // what a message carries
	sum, not := Vector{}, Vector{}
	for i := range parts {
		b, err := encodeSummary(&parts[i], 0)
		if err != nil || len(b) > room {
			t.Fatalf("part of %d bytes, %v", len(b), err)
		}
		s, _, err := decodeSummary(b)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(not, s.Refused)
		for origin := range v {
			covering := 0
			for j := range parts {
				if parts[j].covers(origin) {
					covering++
				}
			}
			if _, named := s.Have[origin]; covering != 1 || named != s.covers(origin) {
				t.Fatalf("%s is covered %d times", origin, covering)
			}
			if s.covers(origin) {
				sum[origin] = s.Have[origin]
			}
		}
	}
	if v["ragged/1"] = ragged[:maxSpans]; !reflect.DeepEqual(sum, v) {
		t.Error("the parts do not say what the vector says")
	}
	if refused["z/1"] = ragged[:maxSpans]; !reflect.DeepEqual(not, refused) {
		t.Error("the parts do not say what is refused")
	}
	if parts[len(parts)-1].Through != "" || !parts[len(parts)-1].covers("~") {
		t.Error("no part covers the origins after the last")
	}
}
