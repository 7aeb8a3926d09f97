package store

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestAFloodOfQuestions: a member that asks 10,000 times for all there is, or for a large record, gets
// no more than the bound. Meanwhile a client's record is acknowledged, and a node that has lost its
// disk gets all records, of the node that is flooded.
func TestAFloodOfQuestions(t *testing.T) {
	for what, ask := range map[string]func(p position) ([]byte, error){
		"summaries": func(position) ([]byte, error) {
			return encodeSummary(&summary{Have: Vector{}}, flagReply|flagEcho)
		},
		"wants": func(p position) ([]byte, error) { return encodeWant(p), nil },
	} {
		t.Run(what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWeb(t, 1, "a", "b")
				a := w.nodes["a"]
				var got atomic.Int64
				w.mu.Lock()
				w.lose = func(_, to string, _ frame.Type, payload []byte) bool {
					if to == "liar" {
						got.Add(int64(len(payload)))
					}
					return to == "liar"
				}
				w.mu.Unlock()
				var last position
				for i := range 256 {
					r, _, err := a.Accept(t.Context(), fmt.Sprint(i), make([]byte, maxBody), 0)
					if err != nil {
						t.Fatal(err)
					}
					last = r.position()
				}
				question, err := ask(last)
				if err != nil {
					t.Fatal(err)
				}
				w.busy.Store(10) // 100 MB/s
				start := time.Now()
				var wg sync.WaitGroup
				wg.Go(func() {
					for range 1000 {
						for range 10 {
							a.Receive("liar", frame.Data, question)
						}
						time.Sleep(time.Millisecond)
					}
				})
				time.Sleep(200 * time.Millisecond)
				if _, holders, err := a.Accept(t.Context(), "x", nil, 0); err != nil {
					t.Fatalf("in the flood: held by %v, %v", holders, err)
				}
				w.set(true, [2]string{"b", "c"})
				w.join(t, open(t, memoryDir(t), "c"))
				w.converged(t, 5*time.Second)
				wg.Wait()
				const one = 6 << 20 // the last answer may be more than there was left
				if most := answerBurst + one + answerRate*time.Since(start).Seconds(); float64(got.Load()) > most {
					t.Errorf("the liar got %d bytes, want at most %.0f", got.Load(), most)
				}
			})
		})
	}
}

// TestAnswersAreForgotten: who has rested is not remembered.
func TestAnswersAreForgotten(t *testing.T) {
	a, now := answers{}, time.Now()
	for i := range 100 {
		a.gave(now, fmt.Sprint(i), 2*answerBurst)
	}
	if a.due(now, "0") || !a.due(now.Add(time.Second), "0") || !a.due(now, "another") {
		t.Error("one that has had all is answered, or not a second later, or not another")
	}
	if a.forget(now.Add(time.Second)); len(a) != 100 {
		t.Errorf("%d are remembered that have not rested", len(a))
	}
	if a.forget(now.Add(3 * time.Second)); len(a) != 0 {
		t.Errorf("%d are remembered that have rested", len(a))
	}
}

// TestWhoHasHadItsShareIsNotAsked: a question tells all that is here, and any record can call for one.
func TestWhoHasHadItsShareIsNotAsked(t *testing.T) {
	c := &court{said: map[string][][]byte{}}
	a := NewReplicator(open(t, t.TempDir(), "a"), c, func(int) {}, slog.New(slog.DiscardHandler))
	a.answers.gave(time.Now(), "liar", answerBurst)
	a.answers.gave(time.Now(), "liar", answerBurst)
	for _, peer := range []string{"liar", "b"} {
		a.goOn(&received{from: peer, flags: flagReply})
	}
	if len(c.said["liar"]) != 0 || len(c.said["b"]) == 0 {
		t.Errorf("the liar is told %d messages, another %d", len(c.said["liar"]), len(c.said["b"]))
	}
}
