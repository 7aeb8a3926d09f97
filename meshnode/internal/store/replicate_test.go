package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// web joins replicators in a bubble, with latency, loss and cuts.
type web struct {
	mu    sync.Mutex
	rng   *rand.Rand
	loss  float64
	delay time.Duration // of a message; 0: 1 ms
	busy  atomic.Int64  // for how many nanoseconds a byte keeps who sends it
	cut   map[[2]string]bool
	nodes map[string]*Replicator
	stop  map[string]func()
	// lose is asked of every message; nil: none is lost that way. It runs one at a time.
	lose func(from, to string, t frame.Type, payload []byte) bool
}

type end struct {
	w    *web
	name string
}

func (e end) Send(peer string, t frame.Type, payload []byte) error {
	time.Sleep(time.Duration(e.w.busy.Load() * int64(len(payload))))
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.w.cut[[2]string{e.name, peer}] || e.w.rng.Float64() < e.w.loss || e.w.lose != nil && e.w.lose(e.name, peer, t, payload) {
		return nil
	}
	to, p := e.w.nodes[peer], slices.Clone(payload)
	time.AfterFunc(cmp.Or(e.w.delay, time.Millisecond), func() { to.Receive(e.name, t, p) })
	return nil
}

func (e end) Refused(peer string, err error) {
	panic(e.name + " refuses what " + peer + " sends: " + err.Error())
}

func (e end) Reachable() []string {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	var r []string
	for n := range e.w.nodes {
		if n != e.name && !e.w.cut[[2]string{e.name, n}] {
			r = append(r, n)
		}
	}
	slices.Sort(r)
	return r
}

func (w *web) set(cut bool, pairs ...[2]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range pairs {
		w.cut[p], w.cut[[2]string{p[1], p[0]}] = cut, cut
	}
}

func newWeb(t *testing.T, seed uint64, names ...string) *web {
	t.Helper()
	w := &web{rng: rand.New(rand.NewPCG(seed, 5)), cut: map[[2]string]bool{}, nodes: map[string]*Replicator{}, stop: map[string]func(){}}
	for _, n := range names {
		w.join(t, open(t, memoryDir(t), n))
	}
	return w
}

// join adds a node with its store, or one in the place of the node that had its name.
func (w *web) join(t *testing.T, s *Store) {
	if stop := w.stop[s.node]; stop != nil {
		stop()
	}
	r := NewReplicator(s, end{w, s.node}, func(int) {}, slog.New(slog.DiscardHandler))
	w.mu.Lock()
	w.nodes[s.node] = r
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	w.stop[s.node] = func() { cancel(); wg.Wait() }
	t.Cleanup(w.stop[s.node])
}

func (w *web) converged(t *testing.T, limit time.Duration) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		var first Vector
		same := true
		for _, r := range w.nodes {
			v := r.store.Vector()
			if first == nil {
				first = v
			}
			same = same && reflect.DeepEqual(v, first)
		}
		if same {
			return
		}
		if time.Since(start) > limit {
			t.Fatalf("not converged within %v", limit)
		}
	}
}

func TestAcceptNeedsAHolder(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 1, "a", "b", "c")
		a := w.nodes["a"]
		_, holders, err := a.Accept(t.Context(), "x", []byte("1"), 0)
		if err != nil || len(holders) < 2 || holders[0] != "a" {
			t.Errorf("holders %v, %v", holders, err)
		}
		// Every message is lost and no one is known to be unreachable.
		w.mu.Lock()
		w.loss = 1
		w.mu.Unlock()
		start := time.Now()
		_, _, err = a.Accept(t.Context(), "y", []byte("1"), 0)
		if !errors.Is(err, ErrNoHolder) || time.Since(start) != AcceptTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		// When the peers turn out to be unreachable, this disk is enough.
		time.AfterFunc(time.Second, func() { w.set(true, [2]string{"a", "b"}, [2]string{"a", "c"}) })
		start = time.Now()
		_, holders, err = a.Accept(t.Context(), "z", []byte("1"), 0)
		if err != nil || !slices.Equal(holders, []string{"a"}) {
			t.Errorf("alone: %v, %v", holders, err)
		}
		if took := time.Since(start); took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("alone after %v", took)
		}
		if len(a.waits) != 0 {
			t.Errorf("%d waits left behind", len(a.waits))
		}
	})
}

// TestRepairAfterPartitionAndLoss runs 5 seeds, and 1,000 with MESH_TEST_LONG.
func TestRepairAfterPartitionAndLoss(t *testing.T) {
	seeds := uint64(5)
	if os.Getenv("MESH_TEST_LONG") != "" {
		seeds = 1000
	}
	for seed := range seeds {
		bubble.Test(t, func(t *testing.T) {
			w := newWeb(t, seed, "a", "b", "c", "d")
			w.loss = 0.2
			w.set(true, [2]string{"a", "c"}, [2]string{"a", "d"}, [2]string{"b", "c"}, [2]string{"b", "d"})
			acked := map[string]bool{}
			var mu sync.Mutex
			var wg sync.WaitGroup
			for name, r := range w.nodes {
				wg.Go(func() {
					for i := range 100 {
						id := fmt.Sprintf("%s-%d", name, i)
						if _, _, err := r.Accept(t.Context(), id, []byte(id), 0); err == nil {
							mu.Lock()
							acked[id] = true
							mu.Unlock()
						}
					}
				})
			}
			wg.Wait()
			w.mu.Lock()
			clear(w.cut)
			w.mu.Unlock()
			for _, r := range w.nodes {
				for n := range w.nodes {
					if n != r.store.node {
						r.Sync(n)
					}
				}
			}
			w.converged(t, 30*time.Second)
			if len(acked) < 390 {
				t.Errorf("only %d records acknowledged", len(acked))
			}
			for name, r := range w.nodes {
				for id := range acked {
					if rec, err := r.store.Get(id); err != nil || string(rec.Body) != id {
						t.Errorf("seed %d: %s lost %s: %v", seed, name, id, err)
					}
				}
				if listed, more, err := r.store.Entries("", 1000); err != nil || more || len(listed) != 4*100 {
					t.Errorf("seed %d: %s lists %d records, not each of 400 once: %v", seed, name, len(listed), err)
				}
			}
		})
	}
}

// TestLongPartitionRepairsQuickly: batches follow each other without waiting for
// the regular exchange.
func TestLongPartitionRepairsQuickly(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 9, "a", "b")
		w.set(true, [2]string{"a", "b"})
		const n = 20 * batch
		for i := range n {
			if _, _, err := w.nodes["a"].Accept(t.Context(), fmt.Sprintf("%05d", i), nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		w.set(false, [2]string{"a", "b"})
		w.nodes["b"].Sync("a")
		w.converged(t, 500*time.Millisecond)
		if got := w.nodes["b"].store.Len(); got != n {
			t.Errorf("%d of %d records", got, n)
		}
	})
}

// TestNothingIsMissingBeforeTheNodeHasCaughtUp: a node without memory does not say
// of a record that was acknowledged that there is none.
func TestNothingIsMissingBeforeTheNodeHasCaughtUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 1, "a", "b")
		w.set(true, [2]string{"a", "b"})
		a, b := w.nodes["a"], w.nodes["b"]
		if _, err := a.Get("x"); !errors.Is(err, ErrBehind) {
			t.Errorf("right after the start: %v", err)
		}
		time.Sleep(aloneAfter + syncEvery)
		if _, err := a.Get("x"); !errors.Is(err, ErrNotFound) {
			t.Errorf("alone: %v", err)
		}
		var records []Record
		for i := range uint64(3 * batch) {
			records = append(records, signed(Record{ID: fmt.Sprint(i), Node: "c", Origin: "c/1", Seq: i + 1, Time: time.Now()}))
		}
		if _, err := b.store.Add(records...); err != nil {
			t.Fatal(err)
		}
		a.caughtUp.Store(false) // as if it had started anew
		w.set(false, [2]string{"a", "b"})
		a.Sync("b")
		for start := time.Now(); !a.caughtUp.Load(); time.Sleep(time.Millisecond) {
			if _, err := a.Get("nothing"); !errors.Is(err, ErrBehind) {
				t.Fatalf("with %d records of %d: %v", a.store.Len(), b.store.Len(), err)
			}
			if time.Since(start) > 3*syncEvery {
				t.Fatal("it does not catch up")
			}
		}
		if a.store.Len() != b.store.Len() {
			t.Errorf("it has caught up with %d of %d records", a.store.Len(), b.store.Len())
		}
		if _, err := a.Get("nothing"); !errors.Is(err, ErrNotFound) {
			t.Errorf("when it has caught up: %v", err)
		}
	})
}
