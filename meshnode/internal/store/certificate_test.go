package store

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// certificates counts the messages of records with one, by who gets them.
func (w *web) certificates(t *testing.T) (count func(peer string) int64) {
	counts := map[string]*atomic.Int64{}
	for n := range w.nodes {
		counts[n] = new(atomic.Int64)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = func(_, to string, _ frame.Type, payload []byte) bool {
		if payload[0] == kindRecord && carried(t, payload).proof.certificate != nil {
			counts[to].Add(1)
		}
		return false
	}
	return func(peer string) int64 { return counts[peer].Load() }
}

// carried returns the record that a message carries whole.
func carried(t *testing.T, payload []byte) *received {
	var r *received
	c, err := decodeChunk(payload)
	if err == nil {
		r, err = assemble(map[string][]*assembly{}, "", c)
	}
	if err != nil || r == nil {
		t.Errorf("a message without a whole record: %v", err)
		return new(received)
	}
	return r
}

// TestCertificateComesAlong: a holder is found within one round trip, also for the first
// record under a certificate, for that comes with the record until the peer has kept it.
func TestCertificateComesAlong(t *testing.T) {
	const trip = 2 * time.Millisecond
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 1, "a", "b", "c")
		time.Sleep(aloneAfter + syncEvery/2) // between two regular exchanges
		brought := w.certificates(t)
		accept := func(id string, copies int, trips time.Duration) {
			t.Helper()
			start := time.Now()
			if _, holders, err := w.nodes["a"].Accept(t.Context(), id, []byte("1"), copies); err != nil || len(holders) < copies {
				t.Fatal(holders, err)
			}
			if took := time.Since(start); took != trips*trip {
				t.Errorf("%s took %v, want %d round trips", id, took, trips)
			}
			time.Sleep(10 * time.Millisecond) // for the other answer
		}
		expect := func(b, c int64) {
			t.Helper()
			if brought("b") != b || brought("c") != c {
				t.Errorf("so far %d certificates came to b and %d to c, want %d and %d", brought("b"), brought("c"), b, c)
			}
		}
		accept("the first", 2, 1) // one of both answers too late for it
		expect(1, 1)
		accept("the second", 3, 1)
		expect(1, 1)
		a := w.nodes["a"].store
		a.mu.Lock()
		a.signing.Lock()
		a.notary = renewed{"a"}
		a.signing.Unlock()
		a.mu.Unlock()
		accept("under a new certificate", 3, 1)
		expect(2, 2)
		w.join(t, open(t, memoryDir(t), "b"))
		w.nodes["b"].caughtUp.Store(true) // it asks for nothing by itself for a while
		accept("of which b has lost the certificate", 3, 2)
		if c := brought("c"); c != 2 {
			t.Errorf("c got the certificate %d times", c)
		}
	})
}

// renewed is a Notary with another certificate than stamp has.
type renewed struct{ stamp }

func (n renewed) Sign(statement []byte) (certificate, signature []byte) {
	certificate, signature = n.stamp.Sign(statement)
	return append(certificate, "/2"...), signature
}

// TestNothingWaitsForACertificate: when the message with the certificate is lost, what
// comes beside it is not: it is asked for at once, and not at the next regular exchange.
func TestNothingWaitsForACertificate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 1, "a", "b")
		time.Sleep(aloneAfter + syncEvery/2) // both have caught up, and the next exchange is half a second away
		var records []Record
		for i := range uint64(10) {
			records = append(records, signed(Record{ID: fmt.Sprint(i), Node: "c", Origin: "c/1", Seq: i + 1, Time: someTime}))
		}
		if _, err := w.nodes["a"].store.Add(records...); err != nil {
			t.Fatal(err)
		}
		lost := false
		w.mu.Lock()
		w.lose = func(from, _ string, _ frame.Type, payload []byte) bool {
			if from != "a" || payload[0] != kindRecord || lost {
				return false
			}
			lost = carried(t, payload).proof.certificate != nil
			return lost
		}
		w.mu.Unlock()
		w.nodes["b"].Sync("a")
		w.converged(t, 100*time.Millisecond)
		if !lost || w.nodes["b"].store.Len() != len(records) {
			t.Errorf("lost %v, %d records", lost, w.nodes["b"].store.Len())
		}
	})
}

// doubter is a Notary that does not know the root of one member, or no longer.
type doubter struct {
	stamp
	stranger *atomic.Pointer[string]
}

func (d doubter) Identify(certificate []byte) (string, func(statement, signature []byte) bool, error) {
	name, verify, err := d.stamp.Identify(certificate)
	if s := d.stranger.Load(); s != nil && name == *s {
		return name, nil, fmt.Errorf("%w: of %s", ErrUnknownRoot, name)
	}
	return name, verify, err
}

func (d doubter) Trust() any { return d.stranger.Load() }

func openDoubter(t *testing.T, node string) (*Store, *atomic.Pointer[string]) {
	t.Helper()
	stranger := new(atomic.Pointer[string])
	s, err := Open(memoryDir(t), node, doubter{stamp(node), stranger}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, stranger
}

// TestRootTakenAway: what was signed under it stays, and is handed on; nothing more is taken
// in, also of a signer that was known, until it is there again.
func TestRootTakenAway(t *testing.T) {
	s, stranger := openDoubter(t, "a")
	records := make([]Record, 3)
	for i := range records {
		records[i] = signed(Record{ID: fmt.Sprint(i), Node: "b", Origin: "b/1", Seq: uint64(i) + 1, Time: someTime})
	}
	records[2].proof.certificate = nil
	expect := func(what string, i, want int, whose error) {
		t.Helper()
		n, err := s.Add(records[i])
		if refused, _ := errors.AsType[Refusals](err); n != want || !errors.Is(refused[0], whose) {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
	expect("before", 0, 1, nil)
	b := "b"
	stranger.Store(&b)
	for range 2 {
		expect("without the root", 1, 0, ErrUnknownRoot)
	}
	expect("without the root, by the certificate that is kept", 2, 0, ErrUnknownRoot)
	expect("what is here", 0, 0, nil)
	if missing, err := s.missing(&summary{Have: Vector{}}, 10); err != nil || len(missing) != 1 || missing[0].proof.certificate == nil {
		t.Errorf("hands on %v, %v", missing, err)
	}
	stranger.Store(nil)
	expect("the root is back", 1, 1, nil)
	expect("the certificate is kept", 2, 1, nil)
}

// TestStrangersHoldNothingUp: records that a node cannot take, for it does not know the root
// of who signed them, do not come for ever. They keep nothing else from coming, and the node
// has caught up when it has all others. When it knows the root it takes them.
func TestStrangersHoldNothingUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 1, "a")
		a := w.nodes["a"].store
		const n = 3 * batch
		for _, name := range []string{"b", "c"} {
			var records []Record
			for i := range uint64(n) {
				records = append(records, signed(Record{ID: fmt.Sprint(name, i), Node: name, Origin: name + "/1", Seq: i + 1, Time: someTime}))
			}
			if _, err := a.Add(records...); err != nil {
				t.Fatal(err)
			}
		}
		s, stranger := openDoubter(t, "d")
		b := "b"
		stranger.Store(&b)
		var sent atomic.Int64
		w.mu.Lock()
		w.lose = func(from, _ string, _ frame.Type, payload []byte) bool {
			if from == "a" && payload[0] == kindRecord && carried(t, payload).Origin == "b/1" {
				sent.Add(1)
			}
			return false
		}
		w.mu.Unlock()
		w.join(t, s)
		time.Sleep(stallAfter)
		first := sent.Load()
		time.Sleep(2 * stallAfter)
		d := w.nodes["d"]
		if v := s.Vector(); !slices.Equal(v["c/1"], Extent{{1, n}}) || len(v["b/1"]) > 0 {
			t.Errorf("it holds %v", v)
		}
		if _, err := d.Get("none"); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrBehind) {
			t.Errorf("it has not caught up: %v", err)
		}
		if stalled := d.Stalled(time.Now()); len(stalled) > 0 {
			t.Errorf("it waits for records of %v", stalled)
		}
		if first < n || sent.Load() != first {
			t.Errorf("of %d records that are refused %d messages came at first, and %d then", n, first, sent.Load()-first)
		}
		stranger.Store(nil)
		w.converged(t, time.Minute)
		if s.Len() != 2*n {
			t.Errorf("%d records in the end", s.Len())
		}
	})
}
