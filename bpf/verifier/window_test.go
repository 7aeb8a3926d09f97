package verifier

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

func TestWindowEdges(t *testing.T) {
	const (
		w    = frame.ReplayWindow
		ring = w + 32 // the words' sequence numbers
		far  = 1 + 16*ring
	)
	type step struct {
		sequence uint64
		fresh    bool
	}
	for name, steps := range map[string][]step{
		"in order":      {{1, true}, {2, true}, {3, true}, {1, false}, {2, false}, {3, false}},
		"out of order":  {{3, true}, {1, true}, {2, true}, {2, false}},
		"oldest":        {{w + 10, true}, {11, true}, {11, false}},
		"one too old":   {{w + 10, true}, {10, false}},
		"window start":  {{w, true}, {1, true}, {w + 1, true}, {1, false}, {2, true}},
		"first is far":  {{1 << 30, true}, {1<<30 - w + 1, true}, {1<<30 - w, false}},
		"block borders": {{31, true}, {32, true}, {33, true}, {32, false}, {64, true}, {63, true}, {63, false}},
		"jump by ring":  {{5, true}, {5 + ring, true}, {5, false}, {5 + ring, false}, {5 + ring - 1, true}},
		"jump clears":   {{1, true}, {far, true}, {far - 1, true}, {far - w + 1, true}, {far - w, false}},
		"top of range":  {{MaxSequence - 1, true}, {MaxSequence, true}, {MaxSequence, false}, {MaxSequence - w + 1, true}, {MaxSequence - w, false}},
		"range crossed": {{MaxSequence, true}, {1, false}, {w, false}},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, Config{}, func(t *testing.T, r *runner) {
				r.put(t, testID, testKey)
				for _, s := range steps {
					want := "replay"
					if s.fresh {
						want = "pass"
					}
					t.Run(fmt.Sprint(s.sequence), func(t *testing.T) {
						r.expect(t, lab.Packet{Payload: lab.Sealed(frame.Data, testID, testKey, s.sequence, 0)}.Bytes(), want)
					})
				}
			})
		})
	}
}

// A forged frame must not move the window, however far ahead it claims to be.
func TestForgeryLeavesWindow(t *testing.T) {
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.put(t, testID, testKey)
		r.expect(t, lab.Packet{Payload: lab.Sealed(frame.Data, testID, frame.Key{1}, 1<<20, 0)}.Bytes(), "bad_tag")
		r.expect(t, lab.Packet{Payload: lab.Sealed(frame.Data, testID, testKey, 1, 0)}.Bytes(), "pass")
	})
}

// Random walks through the sequence numbers agree with the model.
func TestWindowAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	both(t, Config{}, func(t *testing.T, r *runner) {
		r.put(t, testID, testKey)
		m := &model{sessions: map[frame.SessionID]*modelSession{
			testID: {key: testKey, verified: true, seen: map[uint64]bool{}},
		}}
		at := int64(1)
		for i := range 5000 {
			switch random.IntN(10) {
			case 0:
				at += random.Int64N(8 * frame.ReplayWindow)
			case 1, 2, 3:
				at -= random.Int64N(frame.ReplayWindow + 44)
			default:
				at += random.Int64N(8)
			}
			at = max(at, 1)
			raw := lab.Packet{Payload: lab.Sealed(frame.Data, testID, testKey, uint64(at), 0)}.Bytes()
			want, _ := m.judge(raw)
			if got, _ := r.run(t, raw); got != want {
				t.Fatalf("step %d, sequence %d: %s, want %s", i, at, got, want)
			}
		}
	})
}

// Whatever CPUs do at once, every sequence number passes exactly once. The CPUs
// take turns at a list in which every number stands twice in a row, so that they
// mostly have the same number, or neighbours, in hand.
func TestWindowTwoCPUs(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	r := newRunner(t, loaded(t, Config{}), "xdp")
	raw := lab.Packet{Payload: lab.Sealed(frame.Data, testID, testKey, 1, 0)}.Bytes()
	feed := newFeeder(t, raw, func(i int) uint64 { return uint64(i/2 + 1) })
	for range 10 {
		r.put(t, testID, testKey)
		feed.point(t, r.prog)
		before := r.counts(t)
		var wait sync.WaitGroup
		for cpu := range 2 {
			wait.Go(func() {
				runtime.LockOSThread() // and end the thread with its affinity
				var set unix.CPUSet
				set.Set(cpu)
				if err := unix.SchedSetaffinity(0, &set); err != nil {
					t.Errorf("pin to CPU %d: %v", cpu, err)
					return
				}
				if _, err := feed.prog.Run(&ebpf.RunOptions{Data: raw, Repeat: feederLength}); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		after := r.counts(t)
		passes, replays := after["pass"]-before["pass"], after["replay"]-before["replay"]
		if passes != feederLength/2 || replays != feederLength/2 {
			t.Fatalf("%d passes and %d replays, want %d of each", passes, replays, feederLength/2)
		}
		r.remove(t, testID)
	}
}
