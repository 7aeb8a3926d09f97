package frame

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

var (
	key    = Key{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	sample = Header{
		Type: Challenge, Length: 3, Fragment: 1, Fragments: 2, Sequence: 0x0102030405060708,
		Session: SessionID{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf},
	}
)

// encoded is h with a payload of zeros.
func encoded(h Header) []byte {
	b := make([]byte, HeaderLen+int(h.Length))
	h.Put(b, key)
	return b
}

// The bytes on the wire, written down by hand but for the tag.
func TestWireFormat(t *testing.T) {
	want := "7834" + "01" + "33" + "0003" + "01" + "02" +
		"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf" + "0102030405060708"
	b := encoded(sample)
	if got := hex.EncodeToString(b[:TagOffset]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if tag := Tag(b, key); tag == 0 || !bytes.Equal(b[TagOffset:HeaderLen], []byte{
		byte(tag >> 56), byte(tag >> 48), byte(tag >> 40), byte(tag >> 32), byte(tag >> 24), byte(tag >> 16), byte(tag >> 8), byte(tag),
	}) {
		t.Errorf("tag %x, want %x big-endian", b[TagOffset:HeaderLen], tag)
	}
}

// The tag is SipHash-2-4 with the key as its authors' reference implementation
// reads it: this is its published vector for the 32 bytes 0 to 31.
func TestTagVector(t *testing.T) {
	in := make([]byte, TagOffset)
	for i := range in {
		in[i] = byte(i)
	}
	if got, want := Tag(in, key), uint64(0x7127512f72f27cce); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}

func TestParse(t *testing.T) {
	b := encoded(sample)
	copy(b[HeaderLen:], "abc")
	h, payload, err := Parse(b)
	if err != nil || h != sample || string(payload) != "abc" {
		t.Errorf("got %+v, %q, %v, want %+v", h, payload, err, sample)
	}
	handshake := encoded(Header{Type: HandshakeInit, Fragments: 1})
	if !bytes.Equal(handshake[8:], make([]byte, HeaderLen-8)) {
		t.Errorf("session, sequence or tag of a handshake is not zero: %x", handshake)
	}
}

func TestParseMalformed(t *testing.T) {
	edit := func(i int, v byte) []byte {
		b := encoded(sample)
		b[i] = v
		return b
	}
	for name, b := range map[string][]byte{
		"empty":         nil,
		"short":         encoded(sample)[:HeaderLen-1],
		"magic":         edit(1, 0),
		"version":       edit(2, 2),
		"class":         edit(3, 0x51),
		"length above":  edit(5, 4),
		"length below":  edit(5, 2),
		"no fragments":  edit(7, 0),
		"fragments":     edit(7, MaxFragments+1),
		"fragment":      edit(6, 2),
		"payload limit": encoded(Header{Type: Data, Fragments: 1, Length: MaxPayload + 1}),
	} {
		if _, _, err := Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want %v", name, err, ErrMalformed)
		}
	}
}

// What parses is what was put, byte for byte.
func FuzzParse(f *testing.F) {
	f.Add(encoded(sample))
	f.Add(encoded(Header{Type: HandshakeCookie, Fragments: 1}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v, want %v", err, ErrMalformed)
			}
			return
		}
		again := append(make([]byte, HeaderLen), payload...)
		h.Put(again, key)
		if !bytes.Equal(again[:TagOffset], b[:TagOffset]) || !bytes.Equal(again[HeaderLen:], b[HeaderLen:]) {
			t.Errorf("got  %x\nwant %x", again, b)
		}
	})
}
