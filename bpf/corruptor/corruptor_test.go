package corruptor

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

var (
	session = frame.SessionID{7}
	key     = frame.Key{8}
)

// loaded returns a corruptor that is attached to nothing. Where BPF is not
// permitted the test is skipped, but never in CI.
func loaded(t *testing.T, cfg Config) *Corruptor {
	t.Helper()
	c := &Corruptor{}
	err := c.load(cfg)
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
		t.Skipf("needs root or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: %v", err)
	}
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// run puts a packet through the program and returns what comes out.
func (c *Corruptor) run(t *testing.T, raw []byte) []byte {
	t.Helper()
	out := make([]byte, len(raw)+256)
	opts := ebpf.RunOptions{Data: raw, DataOut: out}
	ret, err := c.obj.CorruptSignatures.Run(&opts)
	if err != nil {
		t.Fatal(err)
	}
	if ret != 1<<32-1 {
		t.Errorf("returned %d: later programs were skipped", int32(ret))
	}
	return opts.DataOut
}

func signature(n int) []byte {
	return lab.Sealed(frame.AttestationSignature, session, key, 5, n)
}

// What comes out is byte for byte what an honest sender of the flipped payload
// would have sent, checksum included.
func TestFlip(t *testing.T) {
	carriers := map[string]lab.Packet{
		"ipv4":             {Checksum: true},
		"ipv4 no checksum": {},
		"ipv4 options":     {Checksum: true, Options: 12, VLANs: []uint16{0x8100}},
		"ipv6":             {Checksum: true, IPv6: true},
		"ipv6 extension":   {Checksum: true, IPv6: true, Extensions: lab.Repeat(lab.Extension(lab.HopByHop, 1), 1)},
	}
	for _, flip := range []struct {
		offset uint16
		mask   uint8
		length int
	}{{0, 1, 1}, {0, 0xff, 2}, {1, 0x80, 2}, {2, 3, 3}, {508, 4, 509}, {700, 0x10, 1400}, {1399, 1, 1400}} {
		c := loaded(t, Config{Offset: flip.offset, Mask: flip.mask, Rate: 1})
		for name, carrier := range carriers {
			t.Run(fmt.Sprintf("%s/%d of %d", name, flip.offset, flip.length), func(t *testing.T) {
				flipped := signature(flip.length)
				flipped[frame.HeaderLen+int(flip.offset)] ^= flip.mask
				got := c.run(t, carrier.With(signature(flip.length)))
				if want := carrier.With(flipped); !bytes.Equal(got, want) {
					t.Errorf("got  %x\nwant %x", got, want)
				}
			})
		}
		want := uint64(len(carriers))
		if counts, err := c.Counts(); err != nil || counts != (Counts{Seen: want, Corrupted: want}) {
			t.Errorf("counts %+v (%v), want %d seen and corrupted", counts, err, want)
		}
	}
}

// Nothing but signature fragments to the chosen peers is touched.
func TestUntouched(t *testing.T) {
	c := loaded(t, Config{Peers: []netip.Addr{lab.DestinationIPv4}, Offset: 10, Mask: 1, Rate: 1})
	handshake := lab.Frame(frame.Header{Type: frame.HandshakeInit, Length: 100, Fragments: 1}, key)
	version := signature(100)
	version[2] = 9
	for name, raw := range map[string][]byte{
		"data":         lab.Packet{Payload: lab.Sealed(frame.Data, session, key, 1, 100)}.Bytes(),
		"control":      lab.Packet{Payload: lab.Sealed(frame.Challenge, session, key, 1, 100)}.Bytes(),
		"handshake":    lab.Packet{Payload: handshake}.Bytes(),
		"version":      lab.Packet{Payload: version}.Bytes(),
		"other port":   lab.Packet{Payload: signature(100), Port: 53}.Bytes(),
		"tcp":          lab.Packet{Payload: signature(100), Proto: 6}.Bytes(),
		"ip fragment":  lab.Packet{Payload: signature(100), Fragment: 0x2000}.Bytes(),
		"other peer":   lab.Packet{Payload: signature(100), IPv6: true}.Bytes(),
		"short header": lab.Packet{Payload: signature(100)[:39]}.Bytes(),
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.run(t, raw); !bytes.Equal(got, raw) {
				t.Errorf("got  %x\nwant %x", got, raw)
			}
		})
	}
	if counts, err := c.Counts(); err != nil || counts != (Counts{}) {
		t.Errorf("counts %+v (%v), want none", counts, err)
	}
	short := lab.Packet{Payload: signature(10)}.Bytes()
	if got := c.run(t, short); !bytes.Equal(got, short) {
		t.Errorf("a fragment that ends before the offset was changed")
	}
	if counts, err := c.Counts(); err != nil || counts != (Counts{Seen: 1, Failed: 1}) {
		t.Errorf("counts %+v (%v), want 1 seen and failed", counts, err)
	}
}

func TestRate(t *testing.T) {
	const packets = 2000
	c := loaded(t, Config{Mask: 1, Rate: 0.25})
	for range packets {
		c.run(t, lab.Packet{Payload: signature(20)}.Bytes())
	}
	counts, err := c.Counts()
	if err != nil || counts.Seen != packets {
		t.Fatalf("counts %+v (%v), want %d seen", counts, err, packets)
	}
	// Ten standard deviations of 19.
	if counts.Corrupted < packets/4-194 || counts.Corrupted > packets/4+194 {
		t.Errorf("%d of %d corrupted, want about a quarter", counts.Corrupted, packets)
	}
}

func TestBadConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		"rate 0":          {Interface: "lo", Mask: 1},
		"rate 1.5":        {Interface: "lo", Mask: 1, Rate: 1.5},
		"mask 0":          {Interface: "lo", Rate: 1},
		"300 peers":       {Interface: "lo", Mask: 1, Rate: 1, Peers: make([]netip.Addr, 300)},
		`mode "xdp"`:      {Interface: "lo", Mask: 1, Rate: 1, Mode: "xdp"},
		"no such network": {Interface: "absent0", Mask: 1, Rate: 1},
		`corruptor on ""`: {Mask: 1, Rate: 1},
	} {
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: error %v, want one line with %q", cfg, err, want)
		}
	}
}
