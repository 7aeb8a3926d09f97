package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestRootOfItsOwn: who hands over records under a root that nobody else knows is blamed, as
// soon as no change of the trust can excuse him; one before or after does.
func TestRootOfItsOwn(t *testing.T) {
	for what, test := range map[string]struct {
		quiet   time.Duration // before the first record
		change  time.Duration // after it; 0: none
		culprit bool
	}{
		"in settled times":             {quiet: 2 * rootsSettle, culprit: true},
		"soon after a change":          {quiet: rootsSettle / 2},
		"soon before one":              {quiet: 2 * rootsSettle, change: rootsSettle / 2},
		"too long before one":          {quiet: 2 * rootsSettle, change: rootsSettle + time.Minute, culprit: true},
		"soon after, and before a one": {quiet: rootsSettle / 2, change: time.Minute},
	} {
		bubble.Test(t, func(t *testing.T) {
			c := &court{said: map[string][][]byte{}}
			s, stranger := openDoubter(t, "a")
			a := NewReplicator(s, c, func(int) {}, slog.New(slog.DiscardHandler))
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { a.Run(ctx) })
			defer wg.Wait()
			defer cancel()
			seq := uint64(0)
			hand := func() {
				seq++
				bad := signedBy("~b", Record{ID: fmt.Sprint("x", seq), Node: "b", Origin: "b/1", Seq: seq, Time: someTime})
				messages, err := encodeRecord(&bad, 7, 0)
				if err != nil {
					t.Fatal(err)
				}
				a.Receive("liar", frame.Data, messages[0])
				synctest.Wait()
			}
			time.Sleep(test.quiet)
			hand()
			if _, got := c.take(); len(got) > 0 {
				t.Errorf("%s: at once %v are blamed", what, got)
			}
			if test.change > 0 {
				time.Sleep(test.change)
				z := "z"
				stranger.Store(&z)
			}
			time.Sleep(2 * rootsSettle)
			var want []string
			if test.culprit {
				want = []string{"liar"}
			}
			if acks, got := c.take(); acks > 0 || !slices.Equal(got, want) {
				t.Errorf("%s: %v are blamed, want %v", what, got, want)
			}
			if !test.culprit || test.change > 0 {
				return
			}
			hand()
			if _, got := c.take(); !slices.Equal(got, want) {
				t.Errorf("%s: of the next record %v are blamed", what, got)
			}
		})
	}
}

// TestStrangersOfOnePeer: what a member makes up under the names of others keeps nothing from
// coming from them, and is remembered up to a bound.
func TestStrangersOfOnePeer(t *testing.T) {
	s, now := strangers{}, time.Now()
	s.follow(now, "root")
	for i := range uint64(2 * maxStrange) {
		fresh, _ := s.refuse(now, "liar", position{"b/1", 2*i + 1}, ErrUnknownRoot)
		if fresh != (i < maxStrange) {
			t.Fatalf("number %d is remembered: %v", i, fresh)
		}
	}
	if fresh, _ := s.refuse(now, "liar", position{"b/1", 1}, ErrUnknownRoot); fresh {
		t.Error("what is known counts as new")
	}
	if v := s.of("b"); len(v) > 0 {
		t.Errorf("of b is refused: %v", v)
	}
	held := &summary{Have: Vector{"b/1": {{1, 1}}}}
	if (Vector{}).lacks(held, s.of("liar")) || !(Vector{}).lacks(held, s.of("b")) {
		t.Error("the liar's record is wanted, or b's is not")
	}
	s.follow(now, "another root")
	if v := s.of("liar"); len(v) > 0 {
		t.Errorf("under another trust is refused: %v", v)
	}
}

// TestAStrangerSignsForHisOwnNameOnly: what a member makes up under a root of its own names stores
// of the node in the certificate, or is forged. Nothing of it is remembered, nor sent back.
func TestAStrangerSignsForHisOwnNameOnly(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c, a, end := inCourt(t)
		defer end()
		hand := func(node string, seq uint64) {
			r := signedBy("~liar", Record{ID: fmt.Sprint(node, seq), Node: node, Origin: node + "/1", Seq: seq, Time: someTime})
			if seq > 1 {
				r.proof.certificate = nil // the first one has brought it
			}
			handOver(t, a, "liar", r)
			synctest.Wait()
		}
		for seq := range uint64(3) {
			hand("liar", seq+1)
			if _, culprits := c.take(); len(culprits) > 0 {
				t.Errorf("record %d in the certificate's name: %v are blamed", seq+1, culprits)
			}
			hand("b", seq+1)
			if acks, culprits := c.take(); acks > 0 || !slices.Equal(culprits, []string{"liar"}) {
				t.Errorf("record %d in the name of b: %d acknowledgements, blamed %v", seq+1, acks, culprits)
			}
		}
		if v := a.refusedOf("liar"); len(v) != 1 || !slices.Equal(v["liar/1"], Extent{{1, 3}}) {
			t.Errorf("of the liar is remembered: %v", v)
		}
	})
}

// counter counts how often a certificate is identified.
type counter struct {
	stamp
	identified *atomic.Int64
}

func (c counter) Identify(certificate []byte) (string, func(statement, signature []byte) bool, error) {
	c.identified.Add(1)
	return c.stamp.Identify(certificate)
}

// TestStrangersPutNobodyOut: certificates of unknown roots, however many, do not make a
// signer of the mesh be identified again.
func TestStrangersPutNobodyOut(t *testing.T) {
	var n atomic.Int64
	s, err := Open(t.TempDir(), "a", counter{"a", &n}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	honest := func(seq uint64) {
		t.Helper()
		if _, err := s.Add(signed(Record{ID: fmt.Sprint(seq), Node: "b", Origin: "b/1", Seq: seq, Time: someTime})); err != nil {
			t.Fatal(err)
		}
	}
	honest(1)
	for i := range uint64(2 * maxSigners) {
		bad := signedBy(fmt.Sprintf("~c/%d", i), Record{ID: "x", Node: "c", Origin: "c/1", Seq: i + 1, Time: someTime})
		if _, err := s.Add(bad); !errors.Is(err, ErrUnknownRoot) {
			t.Fatal(err)
		}
	}
	before := n.Load()
	if honest(2); n.Load() != before {
		t.Error("an honest signer was forgotten")
	}
}

// slow is a Notary whose verification ends when another goroutine has done something.
type slow struct {
	stamp
	began, goOn chan struct{}
}

func (s slow) Identify(certificate []byte) (string, func(statement, signature []byte) bool, error) {
	name, verify, err := s.stamp.Identify(certificate)
	return name, func(statement, signature []byte) bool {
		close(s.began)
		<-s.goOn
		return verify(statement, signature)
	}, err
}

// TestWritesDoNotWaitForVerification: clients write while what a peer has sent is verified.
func TestWritesDoNotWaitForVerification(t *testing.T) {
	notary := slow{"a", make(chan struct{}), make(chan struct{})}
	s, err := Open(t.TempDir(), "a", notary, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	added := make(chan error, 1)
	go func() {
		_, err := s.Add(signed(Record{ID: "x", Node: "b", Origin: "b/1", Seq: 1, Time: someTime}))
		added <- err
	}()
	<-notary.began
	wrote := make(chan struct{})
	go func() {
		put(t, s, "y", "1")
		close(wrote)
	}()
	select {
	case <-wrote:
	case <-time.After(10 * time.Second):
		t.Error("a write waits for a verification")
	}
	close(notary.goOn)
	if err := <-added; err != nil {
		t.Error(err)
	}
	<-wrote
}
