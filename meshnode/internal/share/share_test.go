package share

import "testing"

// TestNobodyTakesAll: who takes what there is leaves places for others, as many liars leave some,
// and what is given back can be taken again.
func TestNobodyTakesAll(t *testing.T) {
	r := New(64)
	fill := func(who string) (n int) {
		for r.Take(who) {
			n++
		}
		return n
	}
	for i, want := range []int{32, 16, 8, 4} {
		if got := fill(string(rune('a' + i))); got != want {
			t.Errorf("liar %d takes %d places, want %d", i, got, want)
		}
	}
	if !r.Take("honest") {
		t.Error("there is no place left")
	}
	for range 32 {
		r.Give("a")
	}
	if got := fill("honest"); got < 8 {
		t.Errorf("of 32 places that were given back one can take %d", got)
	}
	if len(r.taken) != 4 {
		t.Errorf("it remembers %d, of whom one has taken nothing", len(r.taken))
	}
}
