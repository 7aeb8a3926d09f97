package session

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// kernelWindow is a Conn whose far end judges sequence numbers as the eBPF verifier
// does, in the order in which they are written. Every so often it holds one writer
// up, as the scheduler does.
type kernelWindow struct {
	transport.Conn
	mu              sync.Mutex
	highest         uint64
	seen            []bool // by sequence number
	frames, replays int
	overtaken       uint64 // the furthest that a frame came behind a later one
}

func (k *kernelWindow) WriteTo(b []byte, _ netip.AddrPort) error {
	h, _, err := frame.Parse(b)
	if err != nil {
		return err
	}
	if h.Sequence%997 == 0 {
		runtime.Gosched()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.frames++
	if k.seen[h.Sequence] || h.Sequence+frame.ReplayWindow <= k.highest {
		k.replays++
	}
	k.seen[h.Sequence] = true
	k.overtaken = max(k.overtaken, k.highest-min(k.highest, h.Sequence))
	k.highest = max(k.highest, h.Sequence)
	return nil
}

// TestFramesLeaveInOrder: however many write at once on however many CPUs, a session's
// frames leave in the order of their numbers, so that its peer takes none for a replay.
func TestFramesLeaveInOrder(t *testing.T) {
	total := 300_000
	if os.Getenv("MESH_TEST_LONG") != "" {
		total = 10_000_000
	}
	const writers = 16
	for _, procs := range []int{1, 2, 8} {
		t.Run(fmt.Sprintf("GOMAXPROCS=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			h := newHandshake(t)
			o := h.call(t)
			half, err := h.b.makeReply(o.init, 0)
			if err != nil {
				t.Fatal(err)
			}
			s := half.session
			s.peer = &peer{name: "a"}
			k := &kernelWindow{seen: make([]bool, total+writers*2+1)}
			h.b.cfg.Transport = k
			h.b.cfg.Limits.SequenceLimit = uint64(2 * total)
			var writing sync.WaitGroup
			for range writers {
				writing.Go(func() {
					for i := range total / writers {
						var err error
						if i%100 == 0 { // the other way in which frames are sent
							err = h.b.sendSignature(s, path{}, []byte("signature"))
						} else {
							err = h.b.sendOn(s, path{}, frame.Data, []byte("record"))
						}
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			writing.Wait()
			if k.frames != total/writers*writers || k.replays != 0 || k.overtaken != 0 {
				t.Errorf("%d of %d frames count as replays; one came %d behind another", k.replays, k.frames, k.overtaken)
			}
		})
	}
}
