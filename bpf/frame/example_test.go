package frame_test

import (
	"errors"
	"fmt"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// A sender writes the header and its tag in front of the payload. A receiver checks the
// form first, and then the tag under the session's header key.
func Example() {
	payload := []byte("sealed")
	key := frame.Key{1, 2, 3}
	h := frame.Header{Type: frame.Data, Length: uint16(len(payload)), Fragments: 1, Session: frame.SessionID{0xab}, Sequence: 7}
	datagram := append(make([]byte, frame.HeaderLen), payload...)
	h.Put(datagram, key)

	got, body, err := frame.Parse(datagram)
	fmt.Printf("%s, number %d, %v\n", body, got.Sequence, err)
	tag := frame.Tag(datagram, key)
	fmt.Println("another key, same tag:", frame.Tag(datagram, frame.Key{}) == tag)

	_, _, err = frame.Parse(datagram[:frame.HeaderLen])
	fmt.Println("cut short:", errors.Is(err, frame.ErrMalformed))
	// Output:
	// sealed, number 7, <nil>
	// another key, same tag: false
	// cut short: true
}
