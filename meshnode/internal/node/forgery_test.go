package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	lies "github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// records takes down what a node is sent of one record.
type records struct {
	mu   sync.Mutex
	sent [][]byte
}

func (r *records) hears(_ string, t frame.Type, payload []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t == frame.Data && lies.IsRecord(payload) {
		r.sent = append(r.sent, payload)
	}
}

// convicted checks that who refuses a record of a culprit has an incident about it, and that
// nobody is blamed for anything else.
func (m *testMesh) convicted(victim, culprit string) {
	m.t.Helper()
	m.within(time.Second, "an incident about "+culprit, func() error {
		n := m.nodes[victim]
		if open := n.openIncidents(); n.refused(culprit)[metric.MessageRecord] == 0 || !slices.Equal(open, []string{metric.Misbehaviour + " of " + culprit}) {
			return fmt.Errorf("open %v, refused of it %v", open, n.refused(culprit))
		}
		return nil
	})
	for name, n := range m.nodes {
		for _, other := range m.names {
			if r := n.refused(other); len(r) > 0 && (name != victim || other != culprit) {
				m.t.Errorf("%s refused of %s: %v", name, other, r)
			}
		}
	}
}

// TestForgedRecords: a member replaces something in a record that another one has signed.
// One such message is refused, counted, and an incident about it.
func TestForgedRecords(t *testing.T) {
	for what, change := range map[string]func(r map[string]any){
		"content": func(r map[string]any) { r["body"] = "b3RoZXI=" },
		"time":    func(r map[string]any) { r["time"] = "2001-01-01T00:00:00Z" },
		"id":      func(r map[string]any) { r["id"] = "another" },
		"number":  func(r map[string]any) { r["seq"] = r["seq"].(float64) + 1 },
		"name": func(r map[string]any) {
			r["node"], r["origin"] = zoneNames[3], zoneNames[3]+"/0123456789abcdef"
		},
	} {
		t.Run(what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m := newTestMesh(t, true)
				liar, victim := zoneNames[4], zoneNames[1]
				h, heard := m.turn(liar), &records{}
				h.hears = heard.hears
				m.up()
				defer m.down()
				if _, _, err := m.nodes[zoneNames[0]].Accept(t.Context(), "x", []byte("true"), 5); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				before := m.nodes[victim].store.Vector()
				bad, err := lies.Record(heard.sent[0]).Rewritten(change)
				if err != nil {
					t.Fatal(err)
				}
				if err := h.send(victim, frame.Data, bad); err != nil {
					t.Fatal(err)
				}
				m.convicted(victim, liar)
				if after := m.nodes[victim].store.Vector(); fmt.Sprint(after) != fmt.Sprint(before) {
					t.Errorf("it holds %v, before %v", after, before)
				}
				if r, err := m.nodes[victim].Record("x"); err != nil || string(r.Body) != "true" {
					t.Errorf("record: %q, %v", r.Body, err)
				}
			})
		})
	}
}

// outbox is the store's way to one peer, where what is sent is kept.
type outbox struct{ sent chan []byte }

func (o outbox) Send(_ string, _ frame.Type, payload []byte) error { o.sent <- payload; return nil }
func (outbox) Reachable() []string                                 { return []string{"anybody"} }
func (outbox) Refused(string, error)                               {}

// TestTwoRecordsUnderANumber: an origin has signed two records under one number. Who holds
// one and gets the other, from whomever, refuses it and blames the origin.
func TestTwoRecordsUnderANumber(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		liar, bearer, victim := zoneNames[4], zoneNames[3], zoneNames[1]
		h := m.turn(bearer)
		m.up()
		defer m.down()
		// An older copy of its disk gives out the same number again.
		b, err := os.ReadFile(filepath.Join(m.dirs[liar], store.File))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, store.File), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.nodes[liar].Accept(t.Context(), "x", []byte("first"), 5); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(dir, liar, notary{m.nodes[liar].cfg.Identity}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		o := outbox{make(chan []byte, 100)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := store.NewReplicator(s, o, func(int) {}, slog.New(slog.DiscardHandler)).Accept(ctx, "x", []byte("second"), 0); err == nil {
			t.Error("somebody has acknowledged it")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := h.send(victim, frame.Data, <-o.sent); err != nil {
			t.Fatal(err)
		}
		m.convicted(victim, liar)
		if r, err := m.nodes[victim].Record("x"); err != nil || string(r.Body) != "first" {
			t.Errorf("record: %q, %v", r.Body, err)
		}
	})
}

// TestWrongSignatureIsAnIncident: each error that leaves no doubt about who signed wrongly is
// counted as one of a record, and one such message is enough.
func TestWrongSignatureIsAnIncident(t *testing.T) {
	for _, why := range []error{store.ErrForged, store.ErrTwice, store.ErrUnknownRoot} {
		bubble.Test(t, func(t *testing.T) {
			m := newTestMesh(t, true)
			m.up()
			defer m.down()
			mesh{m.nodes[zoneNames[1]].Node}.Refused(zoneNames[4], fmt.Errorf("record 7: %w", why))
			m.convicted(zoneNames[1], zoneNames[4])
		})
	}
}

// TestRecordsOutliveTheRoot: when the mesh has a new root, a node without memory takes in
// the records that were signed under the former one; and writes go on while only some
// nodes know the new root. With MESH_TEST_LONG also when the former credentials are out of use.
func TestRecordsOutliveTheRoot(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		put := func(at, id string) {
			t.Helper()
			if _, holders, err := m.nodes[at].Accept(t.Context(), id, []byte("true"), 5); err != nil || len(holders) < 5 {
				t.Errorf("%s at %s: %v, %v", id, at, holders, err)
			}
		}
		put(zoneNames[0], "before")
		former, err := m.auth.Trust().Root, error(nil)
		if m.auth, err = identity.NewAuthority(); err != nil {
			t.Fatal(err)
		}
		for i, name := range zoneNames {
			id, err := m.auth.NewNode(name, "", 24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			m.nodes[name].cfg.Identity.Update(id.Credential(), id.Trust())
			put(name, fmt.Sprint("while it changes, ", i)) // others do not know the root yet
		}
		lost := zoneNames[2]
		m.stop(lost, false)
		m.dirs[lost] = t.TempDir()
		m.former = append(m.former, former)
		m.start(lost)
		m.within(20*time.Second, "all records at the node that has lost its disk", func() error {
			if got := m.nodes[lost].store.Len(); got != 1+len(zoneNames) {
				return fmt.Errorf("%d records", got)
			}
			return nil
		})
		if os.Getenv("MESH_TEST_LONG") != "" { // five nodes for six minutes
			time.Sleep(6 * time.Minute) // the former credentials are out of use
			put(lost, "after")
		}
		for name, n := range m.nodes {
			for _, other := range m.names {
				if r := n.refused(other); r[metric.MessageRecord]+r[metric.MessageData] > 0 {
					t.Errorf("%s refused of %s: %v", name, other, r)
				}
			}
		}
	})
}
