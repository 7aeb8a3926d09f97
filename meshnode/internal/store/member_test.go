package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// TestHostileRecords: what cannot be a record of a member's store is refused, and nothing of
// it stays.
func TestHostileRecords(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	good := Record{ID: "x", Node: "b", Origin: "b/1", Seq: 1, Time: time.Now(), Body: []byte("1")}
	for what, change := range map[string]func(*Record){
		"number that wraps":       func(r *Record) { r.Seq = math.MaxUint64 },
		"number out of range":     func(r *Record) { r.Seq = maxSeq + 1 },
		"origin of another node":  func(r *Record) { r.Origin = "c/1" },
		"origin that JSON bloats": func(r *Record) { r.Node, r.Origin = "<<<<", "<<<</1" },
		"origin not UTF-8":        func(r *Record) { r.Node, r.Origin = "\xff", "\xff/1" },
		"origin without a store":  func(r *Record) { r.Origin = "b/" },
		"origin with a path":      func(r *Record) { r.Origin = "b/1/2" },
		"node that is no name":    func(r *Record) { r.Node = "B" },
		"id not UTF-8":            func(r *Record) { r.ID = "\xff" },
		"id with a control":       func(r *Record) { r.ID = "a\nb" },
	} {
		r := good
		change(&r)
		if _, err := s.Add(signed(r)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(s.Vector()) != 0 || s.Len() != 0 {
		t.Errorf("something stayed: %v", s.Vector())
	}
}

// TestHostileSummaries: the same of what a peer says that it has.
func TestHostileSummaries(t *testing.T) {
	for what, s := range map[string]*summary{
		"origin not UTF-8": {Have: Vector{"\xff/1": {{1, 1}}}},
		"no origin":        {Have: Vector{"": {{1, 1}}}},
		"no store":         {Have: Vector{"b": {{1, 1}}}},
		"wraps":            {Have: Vector{"b/1": {{1, math.MaxUint64}}}},
		"bounds":           {After: "<<", Have: Vector{}},
		"refused spans":    {Have: Vector{}, Refused: Vector{"b/1": {{7, 3}}}},
		"refused origin":   {Have: Vector{}, Refused: Vector{"<<": {{1, 3}}}},
		"end":              {Through: "\x00", Have: Vector{}},
	} {
		b, err := encodeSummary(s, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decodeSummary(b); !errors.Is(err, errMessage) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSecondRecordUnderANumber: it is refused, and an acknowledgement names the content
// that is kept.
func TestSecondRecordUnderANumber(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	first := signed(Record{ID: "x", Node: "b", Origin: "b/1", Seq: 1, Time: someTime, Body: []byte("1")})
	if _, err := s.Add(first, first); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Record){
		"content": func(r *Record) { r.Body = []byte("2") },
		"id":      func(r *Record) { r.ID = "y" },
		"time":    func(r *Record) { r.Time = r.Time.Add(-time.Hour) },
	} {
		r := first
		change(&r)
		if _, err := s.Add(signed(r)); !errors.Is(err, ErrTwice) {
			t.Errorf("another %s under the same number: %v", what, err)
		}
		if bytes.Equal(encodeAck(&r), encodeAck(&first)) {
			t.Errorf("the acknowledgement does not tell another %s", what)
		}
	}
	if r, err := s.Get("x"); err != nil || string(r.Body) != "1" {
		t.Errorf("now it holds %q, %v", r.Body, err)
	}
	// Two in one go.
	other := first
	other.Seq, other.Body = 2, []byte("2")
	twin := other
	twin.Body = []byte("3")
	if n, err := s.Add(signed(other), signed(twin)); !errors.Is(err, ErrTwice) || n != 1 {
		t.Errorf("two under one number at once: %d, %v", n, err)
	}
	if n, err := s.Add(first); n != 0 || err != nil {
		t.Errorf("the same again: %d, %v", n, err)
	}
}

// TestAcknowledgementOfOtherContent is none.
func TestAcknowledgementOfOtherContent(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 1, "a", "b")
		a := w.nodes["a"]
		w.set(true, [2]string{"a", "b"})
		r, _, err := a.store.Put("x", []byte("mine"))
		if err != nil {
			t.Fatal(err)
		}
		wait := a.await(r.position(), r.digest())
		other := r
		other.Body = []byte("other")
		a.Receive("b", frame.DataAck, encodeAck(&other))
		synctest.Wait()
		if holders, _ := a.holders(wait); len(holders) > 0 {
			t.Errorf("%v hold something else", holders)
		}
		a.Receive("b", frame.DataAck, encodeAck(&r))
		synctest.Wait()
		if holders, _ := a.holders(wait); len(holders) != 1 {
			t.Errorf("holders %v", holders)
		}
	})
}

// TestCopies: a client gets as many holders as it asks for, or an error.
func TestCopies(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 1, "a", "b", "c")
		a := w.nodes["a"]
		for copies := range 4 {
			_, holders, err := a.Accept(t.Context(), fmt.Sprint(copies), []byte("1"), copies)
			if err != nil || len(holders) < max(copies, 2) {
				t.Errorf("%d copies: %v, %v", copies, holders, err)
			}
		}
		if _, _, err := a.Accept(t.Context(), "four", []byte("1"), 4); !errors.Is(err, ErrTooFew) {
			t.Errorf("4 copies of 3 nodes: %v", err)
		}
		if _, err := a.store.Get("four"); !errors.Is(err, ErrNotFound) {
			t.Errorf("what was refused is stored: %v", err)
		}
		w.set(true, [2]string{"a", "b"}, [2]string{"a", "c"})
		if _, _, err := a.Accept(t.Context(), "two", []byte("1"), 2); !errors.Is(err, ErrTooFew) {
			t.Errorf("2 copies of one node: %v", err)
		}
		if _, holders, err := a.Accept(t.Context(), "one", []byte("1"), 0); err != nil || len(holders) != 1 {
			t.Errorf("alone: %v, %v", holders, err)
		}
	})
}

// TestQuota: a store at its quota refuses what clients write, says so, and goes on with
// everything else; with more room it takes records again.
func TestQuota(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	const quota = 1 << 20
	s.SetQuota(quota)
	body := make([]byte, 32<<10)
	n := 0
	for ; n < 100; n++ {
		if _, _, err := s.Put(fmt.Sprint(n), body); err != nil {
			if !errors.Is(err, ErrQuota) {
				t.Fatal(err)
			}
			break
		}
	}
	if used := s.Used(); n < 10 || n == 100 || used > quota+quota/50 || used < quota/2 {
		t.Fatalf("%d records, %d bytes of %d", n, used, quota)
	}
	if _, err := s.Get("0"); err != nil {
		t.Errorf("read: %v", err)
	}
	if _, added, err := s.Put("0", body); err != nil || added {
		t.Errorf("what is there again: %v", err)
	}
	if _, err := s.Add(signed(Record{ID: "far", Node: "b", Origin: "b/1", Seq: 1, Time: time.Now(), Body: body})); err != nil {
		t.Errorf("another's: %v", err)
	}
	if err := s.SaveKnowledge([]byte("k")); err != nil {
		t.Errorf("knowledge: %v", err)
	}
	s.SetQuota(2 * quota)
	if _, _, err := s.Put("later", body); err != nil {
		t.Errorf("with more room: %v", err)
	}
}

// TestQuotaCountsTheCertificate: a store whose records are each the first one under a
// certificate takes no more than is counted for them.
func TestQuotaCountsTheCertificate(t *testing.T) {
	dir, n := t.TempDir(), 0
	s, err := Open(dir, "a", heavy{"a", &n}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	before := s.Used()
	for n = range 100 {
		put(t, s, fmt.Sprint(n), "")
	}
	if took, counted := s.Used()-before, 100*encodedSize(0); took > counted {
		t.Errorf("100 records took %d bytes, %d were counted", took, counted)
	}
}

// heavy is a Notary whose signatures and certificates are as large as ML-DSA-65's. The
// certificates differ by a number.
type heavy struct {
	stamp
	number *int
}

func (h heavy) Sign(statement []byte) (certificate, signature []byte) {
	certificate, _ = h.stamp.Sign(statement)
	certificate = fmt.Appendf(certificate, "/%d", *h.number)
	return append(certificate, make([]byte, identity.MaxCertificateSize-len(certificate))...), make([]byte, identity.SignatureSize)
}

// TestStalledRepair: a peer that names what it does not hand over is told after a while, and
// no more when it has ceased, or has handed it over.
func TestStalledRepair(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 1, "a")
		a := w.nodes["a"]
		say := func(have Vector) {
			b, err := encodeSummary(&summary{Have: have}, 0)
			if err != nil {
				t.Fatal(err)
			}
			a.Receive("b", frame.Data, b)
			synctest.Wait()
		}
		for range 40 {
			say(Vector{"b/1": {{1, 9}}})
			time.Sleep(time.Second)
		}
		if got := a.Stalled(time.Now()); len(got) != 1 || got[0] != "b" {
			t.Errorf("after 40 s: %v", got)
		}
		say(Vector{})
		if got := a.Stalled(time.Now()); len(got) != 0 {
			t.Errorf("of a peer that names nothing more: %v", got)
		}
		for n := range 50 { // while this store's own disk is at fault, and a while longer
			say(Vector{"b/1": {{1, 9}}})
			if n < 25 {
				a.Excuse(time.Now())
			}
			time.Sleep(time.Second)
		}
		if got := a.Stalled(time.Now()); len(got) != 0 {
			t.Errorf("25 s after this store was well: %v", got)
		}
		say(Vector{})
		say(Vector{"b/1": {{1, 9}}})
		time.Sleep(2 * time.Minute)
		if got := a.Stalled(time.Now()); len(got) != 0 {
			t.Errorf("of a peer that is gone: %v", got)
		}
	})
}
