package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

func open(t *testing.T, dir, node string) *Store {
	t.Helper()
	return openBy(t, dir, node, stamp(node))
}

func openBy(t testing.TB, dir, node string, n Notary) *Store {
	t.Helper()
	s, err := Open(dir, node, n, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, s *Store, id, body string) Record {
	t.Helper()
	r, _, err := s.Put(id, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPutIsIdempotentAndFinal(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	first := put(t, s, "x", "1")
	again, added, err := s.Put("x", []byte("1"))
	if err != nil || added || again.Seq != first.Seq || s.Len() != 1 {
		t.Errorf("again: %+v, %v, %v", again, added, err)
	}
	if _, _, err := s.Put("x", []byte("2")); !errors.Is(err, ErrConflict) {
		t.Errorf("other content: %v", err)
	}
	if r, err := s.Get("x"); err != nil || string(r.Body) != "1" {
		t.Errorf("%q, %v", r.Body, err)
	}
	if _, err := s.Get("y"); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing record: %v", err)
	}
}

func TestSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, "a", stamp("a"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		put(t, s, fmt.Sprint(i), "body")
	}
	if _, err := s.Add(signed(Record{ID: "far", Node: "b", Origin: "b/1", Seq: 3, Time: time.Now()})); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveKnowledge([]byte("wise")); err != nil {
		t.Fatal(err)
	}
	before, origin := s.Vector(), s.origin
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, "a")
	if !reflect.DeepEqual(s.Vector(), before) || s.Len() != 6 || s.origin != origin {
		t.Errorf("after a restart: %v, %d records, origin %s; before %v, %s", s.Vector(), s.Len(), s.origin, before, origin)
	}
	if r := put(t, s, "new", ""); r.Seq != 6 {
		t.Errorf("sequence %d after a restart", r.Seq)
	}
	if k, err := s.Knowledge(); err != nil || string(k) != "wise" {
		t.Errorf("knowledge %q, %v", k, err)
	}
	// The gap in b's records closes when they come.
	if _, err := s.Add(signed(Record{ID: "1b", Node: "b", Origin: "b/1", Seq: 1, Time: time.Now()}), signed(Record{ID: "2b", Node: "b", Origin: "b/1", Seq: 2, Time: time.Now()})); err != nil {
		t.Fatal(err)
	}
	if v := s.Vector()["b/1"]; !slices.Equal(v, Extent{{1, 3}}) {
		t.Errorf("vector of b is %d, want 1 to 3", v)
	}
}

func TestBothSidesOfAConflictAgree(t *testing.T) {
	a, b := open(t, t.TempDir(), "a"), open(t, t.TempDir(), "b")
	put(t, a, "x", "from a")
	put(t, b, "x", "from b")
	fromA, err := a.missing(&b.Vector().summaries(nil)[0], 10)
	if err != nil {
		t.Fatal(err)
	}
	fromB, err := b.missing(&a.Vector().summaries(nil)[0], 10)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := a.Add(fromB...); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if n, err := b.Add(fromA...); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	ra, errA := a.Get("x")
	rb, errB := b.Get("x")
	if errA != nil || errB != nil || !bytes.Equal(ra.Body, rb.Body) || a.Len() != 1 {
		t.Errorf("a says %q, b says %q; %v %v", ra.Body, rb.Body, errA, errB)
	}
	if !reflect.DeepEqual(a.Vector(), b.Vector()) {
		t.Errorf("vectors %v and %v", a.Vector(), b.Vector())
	}
}

func TestInvalidRecordsAreRefused(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	put(t, s, "x", "1")
	good := signed(Record{ID: "y", Node: "b", Origin: "b/1", Seq: 1, Time: time.Now()})
	for name, edit := range map[string]func(*Record){
		"no id":         func(r *Record) { r.ID = "" },
		"long id":       func(r *Record) { r.ID = strings.Repeat("x", maxID+1) },
		"large body":    func(r *Record) { r.Body = make([]byte, maxBody+1) },
		"no origin":     func(r *Record) { r.Origin = "" },
		"origin with 0": func(r *Record) { r.Origin = "b\x001" },
		"no sequence":   func(r *Record) { r.Seq = 0 },
		"no node":       func(r *Record) { r.Node = "" },
		"no time":       func(r *Record) { r.Time = time.Time{} },
		"in our name":   func(r *Record) { r.Origin, r.Seq = s.origin, 2 },
	} {
		bad := good
		edit(&bad)
		if n, err := s.Add(signed(bad)); !errors.Is(err, ErrInvalid) || n != 0 || s.Len() != 1 {
			t.Errorf("%s: %d added, %v", name, n, err)
		}
	}
	if n, err := s.Add(good, good); err != nil || n != 1 {
		t.Errorf("the same record twice in a batch: %d, %v", n, err)
	}
	if n, err := s.Add(good); err != nil || n != 0 {
		t.Errorf("a known record: %d, %v", n, err)
	}
}

func TestListPages(t *testing.T) {
	s := open(t, t.TempDir(), "a")
	for _, i := range rand.Perm(25) {
		put(t, s, fmt.Sprintf("%02d", i), "")
	}
	var got []string
	for after := ""; ; {
		page, err := s.List(after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			got = append(got, r.ID)
		}
		after = got[len(got)-1]
	}
	if len(got) != 25 || !slices.IsSorted(got) {
		t.Errorf("%v", got)
	}
	if page, err := s.List("05x", 1); err != nil || len(page) != 1 || page[0].ID != "06" {
		t.Errorf("after an id that is not there: %v, %v", page, err)
	}
}

func TestCorruptFileIsAClearError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, File), []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, "a", stamp("a"), time.Now)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, File)) {
		t.Errorf("error %v", err)
	}
}

func TestChunks(t *testing.T) {
	largest := proof{signature: make([]byte, identity.SignatureSize), certificate: make([]byte, identity.MaxCertificateSize)}
	for _, size := range []int{0, 1, chunkSize, maxBody} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(rand.Uint32())
		}
		name := strings.Repeat("b", 63)
		r := Record{ID: strings.Repeat("<", maxID), Node: name, Origin: name + "/0123456789abcdef", Seq: maxSeq, Time: time.Now().UTC().Round(0), Body: body, proof: largest}
		messages, err := encodeRecord(&r, 42, flagReply)
		if err != nil {
			t.Fatal(err)
		}
		parts := map[string][]*assembly{}
		var got *received
		for _, i := range rand.Perm(len(messages)) {
			c, err := decodeChunk(messages[i])
			if err != nil {
				t.Fatal(err)
			}
			if got, err = assemble(parts, "b", c); err != nil {
				t.Fatal(err)
			}
		}
		if got == nil || !bytes.Equal(got.Body, body) || got.flags != flagReply || got.ID != r.ID || !bytes.Equal(got.proof.certificate, largest.certificate) || len(parts["b"]) != 0 {
			t.Errorf("%d bytes in %d messages: lost", size, len(messages))
		}
	}
	parts := map[string][]*assembly{}
	for i := range uint64(10 * transfers) {
		if _, err := assemble(parts, "b", chunk{transfer: i, of: 2, part: make([]byte, chunkSize)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(parts["b"]) != transfers {
		t.Errorf("%d unfinished transfers kept", len(parts["b"]))
	}
}

func FuzzMessages(f *testing.F) {
	r := signed(Record{ID: "x", Node: "b", Origin: "b/1", Seq: 1, Time: someTime})
	m, err := encodeRecord(&r, 1, 0)
	if err != nil {
		f.Fatal(err)
	}
	v, err := encodeSummary(&summary{After: "a/1", Have: Vector{"b/1": {{1, 7}, {9, 9}}}, Refused: Vector{"b/1": {{8, 8}}}}, flagReply)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range hostile.Corpus(m[0], v, encodeAck(&r), encodeWant(r.position())) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		parts := map[string][]*assembly{}
		if c, err := decodeChunk(b); err == nil {
			if c.of > maxChunks || len(c.part) > chunkSize {
				t.Errorf("chunk %+v", c)
			}
			got, err := assemble(parts, "b", c)
			if err == nil && c.of > 1 && len(parts["b"]) != 1 {
				t.Error("chunk lost")
			}
			if got != nil {
				if again, err := encodeRecord(&got.Record, 1, got.flags); err != nil && len(got.Body) <= maxBody {
					t.Errorf("a record that cannot be handed on: %v", err)
				} else if len(again) == 1 && (len(got.proof.signature) > len(b) || len(got.proof.certificate) > len(b)) {
					t.Error("a proof out of nothing")
				}
			}
		}
		if p, err := decodeWant(b); err == nil && !bytes.Equal(encodeWant(p), b) {
			t.Errorf("question %+v of %x", p, b)
		}
		if s, _, err := decodeSummary(b); err == nil {
			checkSummary(t, s)
		}
		if p, _, err := decodeAck(b); err == nil {
			if _, ok := validOrigin(p.origin); !ok || p.seq == 0 {
				t.Errorf("position %+v", p)
			}
		}
	})
}
