package verifier

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// pair is a node behind a verifier and a peer that has a session with it.
type pair struct {
	node, peer *lab.Host
	*runner
	from     lab.Station
	conn     *net.UDPConn // the node's
	valid    []byte       // the frame that was sent last
	sequence uint64       // its number
	buffer   []byte
}

func newPair(t testing.TB, mode string, queues int) *pair {
	t.Helper()
	p := &pair{valid: lab.Sealed(frame.Data, testID, testKey, 1, 1000), buffer: make([]byte, 2048)}
	p.node, p.peer = lab.TwoHostsWithQueues(t, queues)
	p.runner = newRunner(t, open(t, p.node, mode), "xdp")
	p.put(t, testID, testKey)
	p.conn = p.node.Listen(t, "udp4", frame.Port)
	p.from = p.station(t)
	return p
}

// station is another socket of the peer that speaks to the node.
func (p *pair) station(t testing.TB) lab.Station {
	return lab.Station{Conn: p.peer.Listen(t, "udp4", 0), To: netip.AddrPortFrom(p.node.IPv4, frame.Port)}
}

// renumber gives a frame another sequence number.
func renumber(b []byte, sequence uint64) {
	binary.BigEndian.PutUint64(b[24:], sequence)
	binary.BigEndian.PutUint64(b[frame.TagOffset:], frame.Tag(b, testKey))
}

// exchange sends n valid frames and returns how many of them arrived. It does not
// sleep: a scheduler's delays would be all that a measurement sees.
func (p *pair) exchange(t testing.TB, n int) (arrived int) {
	t.Helper()
	first := p.sequence + 1
	for range n {
		p.sequence++
		renumber(p.valid, p.sequence)
		p.from.Send(t, p.valid)
	}
	raw, err := p.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); arrived < n && time.Since(start) < 5*time.Second; {
		size, received := 0, error(nil)
		if err := raw.Read(func(fd uintptr) bool {
			size, _, received = unix.Recvfrom(int(fd), p.buffer, unix.MSG_DONTWAIT)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if received == unix.EAGAIN || received == unix.EINTR {
			continue
		}
		if received != nil {
			t.Fatal(received)
		}
		if got := sequence(t, p.buffer[:size]); got < first || got > p.sequence {
			t.Fatalf("sequence %d arrived, want %d to %d: a forgery, or late, or twice", got, first, p.sequence)
		}
		arrived++
	}
	return arrived
}

// flood sends up to most forged frames as fast as it can, until stop is called,
// which returns how many there were. It returns once the first is on its way.
func (p *pair) flood(t testing.TB, most uint64) (stop func() uint64) {
	t.Helper()
	from := p.station(t)
	forgery := lab.Sealed(frame.Data, testID, frame.Key{}, 1<<30, 100)
	from.Send(t, forgery)
	var over atomic.Bool
	sent, done := uint64(1), make(chan struct{})
	go func() {
		defer close(done)
		pin(t, runtime.NumCPU()-1) // the thread ends with this
		for ; sent < most && !over.Load(); sent++ {
			if _, err := from.Conn.WriteToUDPAddrPort(forgery, from.To); err != nil {
				t.Errorf("flood: %v", err)
				return
			}
		}
	}()
	stop = func() uint64 {
		over.Store(true)
		<-done
		return sent
	}
	t.Cleanup(func() { stop() }) // before the socket is closed, if the test fails
	return stop
}

// pin keeps the calling goroutine on a CPU until it ends or unpin is called.
func pin(t testing.TB, cpu int) (unpin func()) {
	runtime.LockOSThread()
	var before, only unix.CPUSet
	only.Set(cpu)
	if err := errors.Join(unix.SchedGetaffinity(0, &before), unix.SchedSetaffinity(0, &only)); err != nil {
		t.Errorf("stay on CPU %d: %v", cpu, err)
	}
	return func() {
		if err := unix.SchedSetaffinity(0, &before); err != nil {
			t.Errorf("leave CPU %d: %v", cpu, err)
		}
		runtime.UnlockOSThread()
	}
}

// dropped is how many packets the cable from the peer to the node had no room for.
func (p *pair) dropped(t testing.TB) (packets uint64) {
	t.Helper()
	for h, counter := range map[*lab.Host]func(*netlink.LinkStatistics) uint64{
		p.peer: func(s *netlink.LinkStatistics) uint64 { return s.TxDropped },
		p.node: func(s *netlink.LinkStatistics) uint64 { return s.RxDropped },
	} {
		h.Do(t, func() error {
			eth0, err := netlink.LinkByName("eth0")
			if err == nil {
				packets += counter(eth0.Attrs().Statistics)
			}
			return err
		})
	}
	return packets
}

// While another sender floods the node as fast as it can, the verifier loses no
// valid frame and lets no forged one through.
func TestValidTrafficDuringFlood(t *testing.T) {
	const windows, window, forged = 300, 32, 1_000_000
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			p := newPair(t, mode, 1)
			stop := p.flood(t, forged)
			arrived, patience := 0, time.Now().Add(20*time.Second)
			for range windows {
				arrived += p.exchange(t, window)
				if time.Now().After(patience) {
					t.Fatalf("only %d of %d valid frames in 20 s", arrived, windows*window)
				}
			}
			sent := stop() + p.sequence
			dropped, counts := p.dropped(t), p.counts(t)
			if missing := p.sequence - uint64(arrived); missing > dropped {
				t.Errorf("%d of %d valid frames were lost, and the cable dropped %d packets", missing, p.sequence, dropped)
			}
			if counts["pass"] != uint64(arrived) {
				t.Errorf("%d frames passed and %d arrived", counts["pass"], arrived)
			}
			if judged := counts["pass"] + counts["bad_tag"]; judged+dropped != sent {
				t.Errorf("%d frames were sent, %d dropped by the cable, %d judged", sent, dropped, judged)
			}
		})
	}
}
