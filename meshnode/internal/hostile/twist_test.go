package hostile

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestTwistReachesEveryField: every byte of a message and every value of its JSON is hostile
// in some copy, wherever the JSON begins; and a large message has no more copies than asked.
func TestTwistReachesEveryField(t *testing.T) {
	message := append(bytes.Repeat([]byte{7}, 40), `{"name":"a","list":[1]}`...)
	all := Twist(rand.New(rand.NewPCG(1, 1)), message, 1<<20)
	for i := range message {
		changed, lengthened := false, false
		for _, b := range all {
			changed = changed || len(b) == len(message) && b[i] != message[i] && bytes.Equal(b[:i], message[:i])
			lengthened = lengthened || len(b) > i+1+0xff && b[i] == 0xff && bytes.Equal(b[:i], message[:i])
		}
		if !changed || !lengthened {
			t.Errorf("byte %d: hostile %v; a length that is kept %v", i, changed, lengthened)
		}
	}
	if got := Lengths(message[:3]); len(got) != 6 || len(got[5]) < 2+1+0xff || got[5][2] != 0xff {
		t.Errorf("%d copies with long lengths", len(got))
	}
	for _, want := range []string{`{"list":[1],"name":null}`, `{"list":[18446744073709551615],"name":"a"}`, `{"":"a","list":[1]}`} {
		found := false
		for _, b := range all {
			found = found || string(b) == string(message[:40])+want
		}
		if !found {
			t.Errorf("no copy holds %s", want)
		}
	}
	if got := Twist(rand.New(rand.NewPCG(1, 1)), make([]byte, 4000), 8); len(got) != 8 {
		t.Errorf("%d copies of a large message", len(got))
	}
}
