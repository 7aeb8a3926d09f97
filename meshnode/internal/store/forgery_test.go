package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// replacements are what another member can try to have in place of a record of b.
var replacements = map[string]func(*Record){
	"content":        func(r *Record) { r.Body = []byte("other") },
	"time":           func(r *Record) { r.Time = r.Time.Add(-time.Hour) },
	"a nanosecond":   func(r *Record) { r.Time = r.Time.Add(1) },
	"zone of time":   func(r *Record) { r.Time = r.Time.In(time.FixedZone("", 3600)) },
	"number":         func(r *Record) { r.Seq++ },
	"id":             func(r *Record) { r.ID = "y" },
	"part of the id": func(r *Record) { r.ID, r.Body = r.ID+"1", r.Body[1:] },
	"store":          func(r *Record) { r.Origin = "b/2" },
	"name":           func(r *Record) { r.Node, r.Origin = "c", "c/1" },
	"signature":      func(r *Record) { r.proof.signature = bytes.Repeat([]byte{1}, len(r.proof.signature)) },
	"no signature":   func(r *Record) { r.proof.signature = nil },
	"a longer one": func(r *Record) {
		r.proof.signature = append(r.proof.signature[:len(r.proof.signature):len(r.proof.signature)], 0)
	},
	"certificate":     func(r *Record) { r.proof.certificate, _ = stamp("b ").Sign(nil) },
	"the liar's name": func(r *Record) { *r = signedBy("liar", *r) },
	"the liar's on content": func(r *Record) {
		r.Body = []byte("other")
		*r = signedBy("liar", *r)
	},
	"the liar's named as b's": func(r *Record) {
		id := r.proof.signer
		*r = signedBy("liar", *r)
		r.proof.signer = id
	},
}

// TestReplacedByAMember: of a record nothing can be replaced by a member that is not its
// origin, neither where nothing is held under its number yet nor where it is.
func TestReplacedByAMember(t *testing.T) {
	honest := signed(Record{ID: "x", Node: "b", Origin: "b/1", Seq: 1, Time: someTime, Body: []byte("1")})
	for what, change := range replacements {
		for _, known := range []bool{false, true} {
			s := open(t, t.TempDir(), "a")
			if known {
				if _, err := s.Add(honest); err != nil {
					t.Fatal(err)
				}
			}
			before := s.Vector()
			bad := honest
			change(&bad)
			same := bad.statement() == honest.statement() && bad.Time.Location() == time.UTC
			n, err := s.Add(bad)
			refused := errors.Is(err, ErrForged) || errors.Is(err, ErrInvalid)
			// What is held and sent again may come with any proof: it stays as it is.
			if fine := known && same && err == nil; n != 0 || !refused && !fine {
				t.Errorf("another %s, known %v: %d, %v", what, known, n, err)
			}
			if got := s.Vector(); fmt.Sprint(got) != fmt.Sprint(before) {
				t.Errorf("another %s, known %v: holds %v", what, known, got)
			}
			if n, err := s.Add(honest); err != nil || n == 1 == known {
				t.Errorf("after another %s the true one: %d, %v", what, n, err)
			}
			held, err := s.proven(position{"b/1", 1})
			if err != nil || !bytes.Equal(held.proof.signature, honest.proof.signature) || string(held.Body) != "1" {
				t.Errorf("after another %s: %q, %v", what, held.Body, err)
			}
		}
	}
}

// TestGoodRecordsBesideForgedOnes are kept, and each refusal names its record.
func TestGoodRecordsBesideForgedOnes(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	var all []Record
	for i := range uint64(6) {
		r := signed(Record{ID: fmt.Sprint(i), Node: "b", Origin: "b/1", Seq: i + 1, Time: someTime})
		if i%3 == 1 {
			r.Body = []byte("forged")
		}
		all = append(all, r)
	}
	n, err := s.Add(all...)
	refused, ok := errors.AsType[Refusals](err)
	if n != 4 || !ok || len(refused) != 2 || !errors.Is(refused[1], ErrForged) || !errors.Is(refused[4], ErrForged) {
		t.Errorf("%d added, %v", n, err)
	}
	if v := s.Vector()["b/1"]; !slices.Equal(v, Extent{{1, 1}, {3, 4}, {6, 6}}) {
		t.Errorf("holds %v", v)
	}
}

// TestSignersOfAnotherRoot: their records are not kept, and nobody is blamed, for a mesh
// that changes its root has members that do not know it yet.
func TestSignersOfAnotherRoot(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	r := signedBy("~b", Record{ID: "x", Node: "b", Origin: "b/1", Seq: 1, Time: someTime})
	if n, err := s.Add(r); n != 0 || !errors.Is(err, ErrUnknownRoot) || errors.Is(err, ErrForged) {
		t.Errorf("%d, %v", n, err)
	}
}

// TestProofSurvives: a store that starts again hands on what it was given, under every
// certificate that signed.
func TestProofSurvives(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, "a", stamp("a"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	own := put(t, s, "own", "1")
	far := signed(Record{ID: "x", Node: "b", Origin: "b/1", Seq: 1, Time: someTime})
	next := signed(Record{ID: "y", Node: "b", Origin: "b/1", Seq: 2, Time: someTime})
	next.proof.certificate = nil // the first one has brought it
	if _, err := s.Add(far); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Add(next); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, "a")
	missing, err := s.missing(&summary{Have: Vector{}}, 10)
	if err != nil || len(missing) != 3 {
		t.Fatal(missing, err)
	}
	var brought []string
	for _, r := range missing {
		if r.proof.certificate != nil {
			brought = append(brought, r.ID)
		}
	}
	if !slices.Equal(brought, []string{"own", "x"}) {
		t.Errorf("certificates come with %v", brought)
	}
	to := open(t, t.TempDir(), "c")
	if n, err := to.Add(missing...); err != nil || n != 3 {
		t.Errorf("another store takes %d of them: %v", n, err)
	}
	if r, err := to.proven(own.position()); err != nil || !bytes.Equal(r.proof.signature, own.proof.signature) {
		t.Errorf("the proof has changed: %v", err)
	}
}

// court is a network with one store, which notes what it says and of whom it complains.
type court struct {
	mu       sync.Mutex
	said     map[string][][]byte
	acks     int
	culprits []string
}

func (c *court) Send(peer string, t frame.Type, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t == frame.DataAck {
		c.acks++
		return nil
	}
	c.said[peer] = append(c.said[peer], slices.Clone(payload))
	return nil
}

func (c *court) Reachable() []string { return []string{"b", "liar"} }

func (c *court) Refused(peer string, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.culprits = append(c.culprits, peer)
}

func (c *court) take() (acks int, culprits []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	acks, culprits = c.acks, c.culprits
	c.acks, c.culprits = 0, nil
	return acks, culprits
}

// handOver gives a replicator a record that a peer sends.
func handOver(t *testing.T, to *Replicator, from string, r Record) {
	t.Helper()
	messages, err := encodeRecord(&r, 7, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		to.Receive(from, frame.Data, m)
	}
}

// inCourt starts a replicator of which every word is heard; end ends it.
func inCourt(t *testing.T) (c *court, a *Replicator, end func()) {
	t.Helper()
	c = &court{said: map[string][][]byte{}}
	a = NewReplicator(open(t, memoryDir(t), "a"), c, func(int) {}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { a.Run(ctx) })
	return c, a, func() {
		cancel()
		wg.Wait()
	}
}

// TestWhoIsBlamed: who sends a forged record is, and of two records that an origin has
// signed under one number the origin, whoever passes the second one on. Neither is
// acknowledged.
func TestWhoIsBlamed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c, a, end := inCourt(t)
		defer end()
		hand := func(from string, r Record) {
			handOver(t, a, from, r)
			synctest.Wait()
		}
		expect := func(what string, acks int, culprits ...string) {
			t.Helper()
			if n, got := c.take(); n != acks || !slices.Equal(got, culprits) {
				t.Errorf("%s: %d acknowledgements, blamed %v", what, n, got)
			}
		}
		first := signed(Record{ID: "x", Node: "b", Origin: "b/1", Seq: 1, Time: someTime, Body: []byte("1")})
		unknown := first
		unknown.proof.certificate = nil
		hand("liar", unknown)
		expect("a signer that is not known yet", 0)
		want := encodeWant(position{"b/1", 1})
		if !slices.ContainsFunc(c.said["liar"], func(m []byte) bool { return bytes.Equal(m, want) }) {
			t.Error("nobody is asked for the certificate")
		}
		for what, change := range replacements {
			if bad := first; what != "certificate" {
				change(&bad)
				hand("liar", bad)
				expect("another "+what, 0, "liar")
			}
		}
		// Once b's certificate has been seen, it counts, and not what comes in its place.
		misled := first
		replacements["certificate"](&misled)
		hand("liar", misled)
		expect("what b has signed", 1)
		if r, err := a.store.proven(position{"b/1", 1}); err != nil || !bytes.Equal(r.proof.certificate, first.proof.certificate) {
			t.Errorf("kept the certificate %q, %v", r.proof.certificate, err)
		}
		hand("b", unknown)
		expect("again, without a certificate", 1)
		second := first
		second.Body = []byte("2")
		hand("liar", signed(second))
		expect("a second one under the number", 0, "b")
		stranger := signedBy("~b", second)
		stranger.Seq = 2
		hand("liar", stranger)
		expect("a signer of another root", 0)
		if r, err := a.store.Get("x"); err != nil || string(r.Body) != "1" {
			t.Errorf("in the end it holds %q, %v", r.Body, err)
		}
	})
}
