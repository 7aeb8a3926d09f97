package store

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestProgressIsItsSendersOwn: of a batch, who has sent a new record makes progress, and not who
// has sent the first one, which was here.
func TestProgressIsItsSendersOwn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a := NewReplicator(open(t, memoryDir(t), "a"), &court{said: map[string][][]byte{}}, func(int) {}, slog.New(slog.DiscardHandler))
		old := signed(Record{ID: "old", Node: "b", Origin: "b/1", Seq: 1, Time: someTime})
		fresh := signed(Record{ID: "new", Node: "b", Origin: "b/1", Seq: 2, Time: someTime})
		if _, err := a.store.Add(old); err != nil {
			t.Fatal(err)
		}
		name := func() {
			for _, peer := range []string{"b", "liar"} {
				a.compareLack(time.Now(), peer, &summary{Have: Vector{"b/1": {{1, 9}}}}, true)
			}
		}
		name()
		time.Sleep(stallAfter - time.Second)
		name()
		a.keep([]received{{Record: old, from: "liar"}, {Record: fresh, from: "b"}})
		time.Sleep(2 * time.Second)
		if got := a.Stalled(time.Now()); !slices.Equal(got, []string{"liar"}) {
			t.Errorf("no progress comes from %v, want the liar", got)
		}
	})
}
