package verifier

import (
	"bytes"
	"encoding/binary"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// objectTypes are the types of the committed object; reading them needs no privilege.
func objectTypes(t *testing.T) *btf.Spec {
	t.Helper()
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	return spec.Types
}

// The header that the Go side writes lies where the C side reads it.
func TestLayoutHeader(t *testing.T) {
	var header *btf.Struct
	if err := objectTypes(t).TypeByName("frame_header", &header); err != nil {
		t.Fatal(err)
	}
	h := frame.Header{
		Type: frame.Challenge, Length: 0x0123, Fragment: 5, Fragments: 9, Sequence: 0x1122334455667788,
		Session: frame.SessionID{0: 0xd0, 7: 0xd7, 8: 0xd8, 15: 0xdf},
	}
	b := make([]byte, frame.HeaderLen)
	h.Put(b, testKey)
	be := binary.BigEndian
	want := map[string][]byte{
		"magic":     be.AppendUint16(nil, frame.Magic),
		"version":   {frame.Version},
		"type":      {byte(h.Type)},
		"length":    be.AppendUint16(nil, h.Length),
		"fragment":  {h.Fragment},
		"fragments": {h.Fragments},
		"session":   h.Session[:],
		"sequence":  be.AppendUint64(nil, h.Sequence),
		"tag":       be.AppendUint64(nil, frame.Tag(b, testKey)),
	}
	if header.Size != frame.HeaderLen || len(header.Members) != len(want) {
		t.Fatalf("C header of %d bytes and %d fields, want %d and %d", header.Size, len(header.Members), frame.HeaderLen, len(want))
	}
	for _, m := range header.Members {
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			t.Fatal(err)
		}
		off := int(m.Offset.Bytes())
		if got := b[off : off+size]; !bytes.Equal(got, want[m.Name]) {
			t.Errorf("%s at %d: %x, want %x", m.Name, off, got, want[m.Name])
		}
	}
}

// The constants of both sides are the same, in the object and in the C header
// that it was compiled from.
func TestLayoutConstants(t *testing.T) {
	want := map[string]uint64{
		"FRAME_PORT":             frame.Port,
		"FRAME_MAGIC":            uint64(frame.Magic),
		"FRAME_VERSION":          frame.Version,
		"FRAME_HEADER_LEN":       frame.HeaderLen,
		"FRAME_MAX_PAYLOAD":      frame.MaxPayload,
		"FRAME_MAX_FRAGMENTS":    frame.MaxFragments,
		"FRAME_TAG_OFFSET":       frame.TagOffset,
		"FRAME_REPLAY_WINDOW":    frame.ReplayWindow,
		"FRAME_SEQUENCE_BITS":    37,
		"FRAME_HANDSHAKE_PREFIX": frame.HandshakePrefix,
		"FRAME_COOKIE_LEN":       frame.CookieLen,
		"FRAME_HANDSHAKE_INIT":   uint64(frame.HandshakeInit),
		"FRAME_HANDSHAKE_COOKIE": uint64(frame.HandshakeCookie),
		"FRAME_CLASS_HANDSHAKE":  uint64(frame.ClassHandshake),
		"FRAME_CLASS_SIGNATURE":  uint64(frame.ClassSignature),
		"FRAME_CLASS_CONTROL":    uint64(frame.ClassControl),
		"FRAME_CLASS_DATA":       uint64(frame.ClassData),
		"FRAME_CLASS_MASK":       0xf0,
	}
	compiled := map[string]uint64{}
	for _, name := range []string{"frame_constant", "frame_class"} {
		var enum *btf.Enum
		if err := objectTypes(t).TypeByName(name, &enum); err != nil {
			t.Fatal(err)
		}
		for _, v := range enum.Values {
			compiled[v.Name] = v.Value
		}
	}
	source, err := os.ReadFile("../headers/frame.h")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]uint64{}
	for _, m := range regexp.MustCompile(`(?m)^\t(FRAME_\w+) = (\w+),$`).FindAllSubmatch(source, -1) {
		if written[string(m[1])], err = strconv.ParseUint(string(m[2]), 0, 64); err != nil {
			t.Fatal(err)
		}
	}
	for side, have := range map[string]map[string]uint64{"object": compiled, "frame.h": written} {
		if len(have) != len(want) {
			t.Errorf("%s has %d constants, want %d", side, len(have), len(want))
		}
		for name, value := range want {
			if have[name] != value {
				t.Errorf("%s: %s = %#x, want %#x", side, name, have[name], value)
			}
		}
	}
}
