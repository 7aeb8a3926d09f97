package home

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestWhoIsBlamed: who sends what no sound node sends is. What a sound node may send after
// others have lied to it, or to this node, is not taken, and nobody is blamed for it.
func TestWhoIsBlamed(t *testing.T) {
	state := func(n int, b Ballot) *message {
		return &message{Kind: propose, ID: id(n), Ballot: b, Copy: &snapshot{ID: id(n), Promised: b, Accepted: b, Version: 1}}
	}
	claim := func(n int, b Ballot) *message { return &message{Kind: prepare, ID: id(n), Ballot: b} }
	for what, c := range map[string]struct {
		m      *message
		blamed bool
	}{
		"a proposal that finds no room":       {state(9, Ballot{1, "a"}), false},
		"a claim that finds no room":          {claim(9, Ballot{1, "a"}), false},
		"a proposal far ahead":                {state(0, Ballot{2 * maxLeap, "a"}), false},
		"a claim far ahead":                   {claim(0, Ballot{2 * maxLeap, "a"}), false},
		"a proposal under another's ballot":   {state(0, Ballot{2, "c"}), true},
		"a claim for another":                 {claim(0, Ballot{2, "c"}), true},
		"a proposal under an impossible one":  {state(0, Ballot{maxEpoch + 1, "a"}), true},
		"a proposal of no state":              {&message{Kind: propose, ID: id(0), Ballot: Ballot{2, "a"}}, true},
		"a proposal that this node can take":  {state(0, Ballot{2, "a"}), false},
		"a claim that this node can grant":    {claim(0, Ballot{2, "a"}), false},
		"a claim of a session with no number": {&message{Kind: prepare, ID: "x", Ballot: Ballot{2, "a"}}, true},
	} {
		t.Run(what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var blamed []string
				k := NewKeeper("b", Limits{Sessions: 1}, func(string, []byte) error { return nil }, func(int) {},
					func(peer string, _ error) { blamed = append(blamed, peer) }, slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { k.Run(ctx) })
				defer wg.Wait()
				defer cancel()
				k.SetView(View{Known: true})
				time.Sleep(2 * aloneAfter)
				k.SetView(View{Known: true, Members: []string{"a", "c"}, Live: []string{"a", "c"}})
				for n := range 2 { // all the room there is
					k.Receive("c", state(n, Ballot{1, "c"}).encode())
				}
				synctest.Wait()
				if len(blamed) > 0 || len(k.table.entries) != 2 || !k.table.settled {
					t.Fatalf("at first: %d sessions, settled %v, blamed %v", len(k.table.entries), k.table.settled, blamed)
				}
				k.Receive("a", c.m.encode())
				synctest.Wait()
				if (len(blamed) > 0) != c.blamed {
					t.Errorf("blamed %v", blamed)
				}
			})
		})
	}
}

// TestAFloodOfOneMember leaves room for what others say.
func TestAFloodOfOneMember(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var answered []string
		k := NewKeeper("a", Limits{}, func(peer string, _ []byte) error { answered = append(answered, peer); return nil }, func(int) {},
			func(string, error) {}, slog.New(slog.DiscardHandler))
		question := (&message{Kind: page}).encode()
		for range 2 * inbox {
			k.Receive("liar", question)
		}
		k.Receive("b", question)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { k.Run(ctx) })
		synctest.Wait()
		for range 2 { // what was taken gives its room back
			k.Receive("liar", question)
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		if n := len(answered); n != inbox/2+3 || answered[inbox/2] != "b" {
			t.Errorf("%d are answered, want half of the room, one of another and two later", n)
		}
	})
}

// TestASilentMemberIsNotWaitedFor: where all begin anew, a member that answers no question keeps the others from
// their work for a while only.
func TestASilentMemberIsNotWaitedFor(t *testing.T) {
	start := time.Unix(1e9, 0)
	n := New(start, "a", Limits{})
	members := []string{"b", "c", "d", "e"}
	n.SetView(start, View{Known: true, Members: members, Live: members})
	settles := func(after time.Duration) bool {
		now := start.Add(after)
		n.Tick(now)
		for _, p := range members[:3] {
			if _, err := n.Receive(now, p, (&message{Kind: copies, Blank: true}).encode()); err != nil {
				t.Fatal(err)
			}
		}
		return n.Settled()
	}
	for after := time.Duration(0); after < recoverFor; after += askAgain {
		if settles(after) {
			t.Fatalf("nobody waits for what a member may hold: %v", after)
		}
	}
	if !settles(recoverFor) {
		t.Error("a member that says nothing is waited for without end")
	}
}

// TestHomesAreMembers: a name that only a peer's word has put in a session's place is not listed.
func TestHomesAreMembers(t *testing.T) {
	s := mesh(t, true)
	s.create(0)
	home := Rank(id(0), five)[0]
	witness := s.nodes[Rank(id(0), five)[1]]
	if got := witness.Homes(); got[home] != 1 {
		t.Fatalf("homes %v", got)
	}
	b := Ballot{witness.entries[id(0)].promised.Epoch + 1, "nobody"}
	if _, err := witness.Receive(s.now, "e", (&message{Kind: promise, ID: id(0), Ballot: Ballot{1, "e"}, Highest: b}).encode()); err != nil {
		t.Fatal(err)
	}
	if got := witness.Homes(); len(got) != 1 || got[elsewhere] != 1 {
		t.Errorf("homes %v", got)
	}
}
