package store

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// brittle is a notary whose code has a mistake, which one member's certificate brings out.
type brittle struct{ stamp }

func (b brittle) Identify(certificate []byte) (string, func(statement, signature []byte) bool, error) {
	if strings.Contains(string(certificate), "liar") {
		panic("a mistake")
	}
	return b.stamp.Identify(certificate)
}

// TestAPanicCostsItsSenderOnly: a record that makes this node panic is refused and its sender
// blamed. Those that came with it are kept and confirmed, and the store goes on.
func TestAPanicCostsItsSenderOnly(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := &court{said: map[string][][]byte{}}
		s := openBy(t, memoryDir(t), "a", brittle{"a"})
		a := NewReplicator(s, c, func(int) {}, slog.New(slog.DiscardHandler))
		hand := func(from string, r Record) { handOver(t, a, from, r) }
		hand("b", signed(Record{ID: "x", Node: "b", Origin: "b/1", Seq: 1, Time: someTime}))
		hand("liar", signed(Record{ID: "bad", Node: "liar", Origin: "liar/1", Seq: 1, Time: someTime}))
		hand("b", signed(Record{ID: "y", Node: "b", Origin: "b/1", Seq: 2, Time: someTime}))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { a.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		synctest.Wait()
		if acks, culprits := c.take(); acks != 2 || !slices.Equal(culprits, []string{"liar"}) {
			t.Errorf("%d acknowledgements, blamed %v", acks, culprits)
		}
		for _, id := range []string{"x", "y"} {
			if _, err := s.Get(id); err != nil {
				t.Errorf("%s, which came beside it: %v", id, err)
			}
		}
		// Also in the midst of a commit, which then has not happened, and is not under way any more.
		update, mistakes := s.update, 1
		s.update = func(f func(*bbolt.Tx) error) error {
			return update(func(tx *bbolt.Tx) error {
				if err := f(tx); err != nil || mistakes == 0 {
					return err
				}
				mistakes--
				panic("a mistake")
			})
		}
		hand("c", signed(Record{ID: "rolled back", Node: "c", Origin: "c/1", Seq: 1, Time: someTime}))
		synctest.Wait()
		time.Sleep(time.Second)
		if acks, culprits := c.take(); acks != 0 || !slices.Equal(culprits, []string{"c"}) {
			t.Errorf("a panic in a commit: %d acknowledgements, blamed %v", acks, culprits)
		}
		if d := s.Disk(); d.Busy != 0 || d.Fault != "" {
			t.Errorf("after it the disk is %+v", d)
		}
		if _, err := s.Get("rolled back"); !errors.Is(err, ErrNotFound) {
			t.Errorf("what was not committed: %v", err)
		}
		put(t, s, "z", "later")
		hand("b", signed(Record{ID: "w", Node: "b", Origin: "b/1", Seq: 3, Time: someTime}))
		synctest.Wait()
		if acks, culprits := c.take(); acks != 1 || len(culprits) > 0 {
			t.Errorf("later: %d acknowledgements, blamed %v", acks, culprits)
		}
	})
}
