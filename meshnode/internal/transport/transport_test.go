package transport

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
)

func reassembler() *Reassembler[string, int] {
	return &Reassembler[string, int]{Messages: 8, PerSource: 2, Age: time.Second}
}

func TestReassemblerAnyOrderWithDuplicates(t *testing.T) {
	message := make([]byte, 5*100+7)
	for i := range message {
		message[i] = byte(i)
	}
	parts := Split(message, 100)
	if len(parts) != 6 {
		t.Fatalf("%d parts, want 6", len(parts))
	}
	for seed := range uint64(50) {
		order := rand.New(rand.NewPCG(seed, 0)).Perm(2 * len(parts))
		r, got := reassembler(), 0
		for _, i := range order {
			i %= len(parts)
			m, complete := r.Add(0, "a", 1, uint8(i), uint8(len(parts)), parts[i])
			if !complete {
				continue
			}
			if got++; !bytes.Equal(m, message) {
				t.Fatalf("seed %d: another message came out", seed)
			}
		}
		if got == 0 {
			t.Fatalf("seed %d: incomplete", seed)
		}
	}
}

func TestReassemblerBounds(t *testing.T) {
	r := reassembler()
	for i := range 100 {
		r.Add(time.Duration(i), "flood", i, 0, 2, []byte("x"))
	}
	if r.Len() != 2 {
		t.Errorf("one source keeps %d messages, want 2", r.Len())
	}
	if m, complete := r.Add(0, "flood", 99, 1, 2, []byte("y")); !complete || string(m) != "xy" {
		t.Error("the newest message of a source was not kept")
	}
	for i := range 100 {
		r.Add(time.Duration(i), fmt.Sprint("source", i), 0, 0, 2, []byte("x"))
	}
	if r.Len() != 8 {
		t.Errorf("%d messages are kept, want 8", r.Len())
	}
	// One place is that of the first source, which is as new.
	for _, c := range []struct {
		source int
		kept   bool
	}{{99, true}, {93, true}, {92, false}} {
		if _, complete := r.Add(100, fmt.Sprint("source", c.source), 0, 1, 2, []byte("y")); complete != c.kept {
			t.Errorf("the message of source %d was kept: %v", c.source, complete)
		}
	}
	r.Expire(2 * time.Second)
	if r.Len() != 0 || len(r.sources) != 0 {
		t.Errorf("%d messages of %d sources after their time", r.Len(), len(r.sources))
	}
	for _, bad := range []struct{ index, count uint8 }{{0, 0}, {2, 2}, {0, frame.MaxFragments + 1}} {
		if _, complete := r.Add(0, "a", 1, bad.index, bad.count, nil); complete || r.Len() != 0 {
			t.Errorf("fragment %d of %d was taken", bad.index, bad.count)
		}
	}
	if _, complete := r.Add(0, "a", 1, 0, 1, make([]byte, frame.MaxPayload+1)); complete {
		t.Error("an oversized fragment was taken")
	}
}

func TestReassemblerFirstCopyWins(t *testing.T) {
	r := reassembler()
	r.Add(0, "a", 1, 0, 2, []byte("right"))
	r.Add(0, "a", 1, 0, 2, []byte("wrong"))
	r.Add(0, "b", 1, 1, 2, []byte("other source"))
	r.Add(0, "a", 1, 1, 3, []byte("other count"))
	if m, complete := r.Add(0, "a", 1, 1, 2, []byte("!")); !complete || string(m) != "right!" {
		t.Errorf("%q %v", m, complete)
	}
}

func TestSplit(t *testing.T) {
	for _, test := range []struct{ length, parts int }{{0, 1}, {1, 1}, {10, 1}, {11, 2}, {160, 16}, {161, 0}} {
		parts := Split(make([]byte, test.length), 10)
		if len(parts) != test.parts {
			t.Errorf("%d bytes: %d parts, want %d", test.length, len(parts), test.parts)
		}
		if test.parts > 0 && len(bytes.Join(parts, nil)) != test.length {
			t.Errorf("%d bytes: some are lost", test.length)
		}
	}
}

func FuzzReassembler(f *testing.F) {
	for _, b := range hostile.Corpus([]byte{0, 0, 2, 0, 1, 2}, bytes.Repeat([]byte{0, 0, 2, 0, 0, 1, 2, 9}, 50)) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, now := reassembler(), time.Duration(0)
		for ; len(b) >= 4; b = b[4:] {
			now += time.Duration(b[3]) * 10 * time.Millisecond
			r.Add(now, fmt.Sprint(b[0]%8), int(b[3]), b[1], b[2], b[:min(len(b), 8)])
			if r.Len() > r.Messages || len(r.sources) > r.Messages {
				t.Fatalf("%d messages of %d sources", r.Len(), len(r.sources))
			}
			for s, n := range r.sources {
				if n > r.PerSource || n <= 0 {
					t.Fatalf("source %s has %d messages", s, n)
				}
			}
		}
	})
}

func addr(i byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, i}), 1) }

func listen(t *testing.T, n *Network, a netip.AddrPort) *Endpoint {
	t.Helper()
	e, err := n.Listen(a)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestNetworkConditions(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		a, b := listen(t, n, addr(1)), listen(t, n, addr(2))
		count := func(c Conditions) (received int, last time.Duration) {
			n.SetLink(addr(1).Addr(), addr(2).Addr(), c)
			start := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, MaxDatagram)
				for {
					k, from, err := b.ReadFrom(buf)
					if err != nil || from != addr(1) || string(buf[:k]) == "end" {
						return
					}
					received, last = received+1, time.Since(start)
				}
			}()
			for range 1000 {
				if err := a.WriteTo([]byte("x"), addr(2)); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(time.Second) // virtual
			n.SetLink(addr(1).Addr(), addr(2).Addr(), Conditions{})
			if err := a.WriteTo([]byte("end"), addr(2)); err != nil {
				t.Error(err)
			}
			<-done
			return received, last
		}
		if got, last := count(Conditions{}); got != 1000 || last != 0 {
			t.Errorf("perfect link: %d in %v", got, last)
		}
		if got, last := count(Conditions{Latency: 100 * time.Millisecond, Jitter: 50 * time.Millisecond}); got != 1000 || last <= 100*time.Millisecond || last >= 150*time.Millisecond {
			t.Errorf("slow link: %d in %v", got, last)
		}
		if got, _ := count(Conditions{Loss: 0.3}); got < 600 || got > 800 {
			t.Errorf("30 %% loss: %d of 1000", got)
		}
		if got, _ := count(Conditions{Duplicate: 0.5}); got < 1400 || got > 1600 {
			t.Errorf("50 %% duplicates: %d of 1000", got)
		}
	})
}

func TestNetworkCutDropsWhatIsUnderWay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		n.SetConditions(Conditions{Latency: 10 * time.Millisecond})
		a, b := listen(t, n, addr(1)), listen(t, n, addr(2))
		if err := a.WriteTo([]byte("lost"), addr(2)); err != nil {
			t.Fatal(err)
		}
		n.Partition([]netip.Addr{addr(1).Addr()}, []netip.Addr{addr(2).Addr(), addr(3).Addr()})
		time.Sleep(time.Second)
		n.HealAll()
		if err := a.WriteTo([]byte("kept"), addr(2)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, MaxDatagram)
		if k, _, err := b.ReadFrom(buf); err != nil || string(buf[:k]) != "kept" {
			t.Errorf("received %q, %v", buf[:k], err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.ReadFrom(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
		if _, err := n.Listen(addr(2)); err != nil {
			t.Errorf("the address of a closed endpoint: %v", err)
		}
		if _, err := n.Listen(addr(1)); err == nil {
			t.Error("an address was given twice")
		}
	})
}

func TestUDP(t *testing.T) {
	for _, local := range []string{"127.0.0.1:0", "[::]:0"} {
		a, err := ListenUDP(netip.MustParseAddrPort(local), "")
		if err != nil {
			t.Fatal(err)
		}
		b, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.WriteTo([]byte("hello"), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.LocalAddr().Port())); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, MaxDatagram)
		n, from, err := a.ReadFrom(buf)
		if err != nil || string(buf[:n]) != "hello" || from != b.LocalAddr() {
			t.Errorf("%s: %q from %v, want hello from %v: %v", local, buf[:n], from, b.LocalAddr(), err)
		}
		read := make(chan error)
		go func() {
			_, _, err := b.ReadFrom(make([]byte, 1))
			read <- err
		}()
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Fatal(err)
		}
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read during close: %v", err)
		}
	}
}
