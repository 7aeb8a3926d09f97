package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestDrainSpreadsWhatNobodyElseHolds: records that were accepted alone are
// with another node when Drain returns, and not before.
func TestDrainSpreadsWhatNobodyElseHolds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 3, "a", "b", "c")
		a := w.nodes["a"]
		w.set(true, [2]string{"a", "b"}, [2]string{"a", "c"})
		const n = 5 * batch / 2
		for i := range n {
			if _, _, err := a.Accept(t.Context(), fmt.Sprintf("%05d", i), nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Drain(t.Context()); err != nil {
			t.Errorf("alone: %v", err)
		}
		w.set(false, [2]string{"a", "b"})
		if err := a.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if got := w.nodes["b"].store.Len(); got != n {
			t.Errorf("%d of %d records are elsewhere", got, n)
		}
	})
}

func TestDrainEndsInTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 4, "a", "b")
		w.set(true, [2]string{"a", "b"})
		if _, _, err := w.nodes["a"].Accept(t.Context(), "x", nil, 0); err != nil {
			t.Fatal(err)
		}
		w.set(false, [2]string{"a", "b"})
		w.mu.Lock()
		w.loss = 1
		w.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.nodes["a"].Drain(ctx); err == nil {
			t.Error("drained over a link that loses everything")
		}
	})
}
