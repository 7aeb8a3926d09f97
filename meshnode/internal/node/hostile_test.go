package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	lies "github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// hostile is a member that runs other code: an enrolled node whose messages a test
// rewrites. Everything of it but what it says is a node's own.
type hostile struct {
	node *Node
	mu   sync.Mutex
	// rewrite returns what is sent in place of a message: nothing, it, or others.
	rewrite func(to string, t frame.Type, payload []byte) [][]byte
	// hears is told of every message that it gets, before the node is.
	hears func(from string, t frame.Type, payload []byte)
	// takes gives the node a message, by deliver; nil: just so.
	takes func(from string, t frame.Type, deliver func())
	// passes gives the node what a neighbour has it relay, by take; nil: just so.
	passes func(from string, message []byte, take func(message []byte))
}

// turn makes the node of a name hostile when it starts; it is honest before it is told
// what to say.
func (m *testMesh) turn(name string) *hostile {
	h := &hostile{}
	if m.hostile == nil {
		m.hostile = map[string]*hostile{}
	}
	m.hostile[name] = h
	return h
}

func (h *hostile) enlist(n *Node) {
	n.hear = func(p session.Peer, t frame.Type, payload []byte) {
		h.mu.Lock()
		hears, takes := h.hears, h.takes
		h.mu.Unlock()
		if hears != nil {
			hears(string(p), t, slices.Clone(payload))
		}
		deliver := func() { n.onMessage(p, t, payload) }
		if takes != nil {
			takes(string(p), t, deliver)
		} else {
			deliver()
		}
	}
	n.pass = func(p session.Peer, message []byte, take func([]byte)) {
		h.mu.Lock()
		passes := h.passes
		h.mu.Unlock()
		if passes != nil {
			passes(string(p), slices.Clone(message), take)
		} else {
			take(message)
		}
	}
	h.node, n.carry = n, func(p session.Peer, t frame.Type, payload []byte) error {
		h.mu.Lock()
		say := [][]byte{payload}
		if h.rewrite != nil {
			say = h.rewrite(string(p), t, slices.Clone(payload))
		}
		h.mu.Unlock()
		for _, b := range say {
			if err := n.sessions.Send(p, t, b); err != nil {
				return err
			}
		}
		return nil
	}
}

// send sends what a rewritten message cannot be.
func (h *hostile) send(to string, t frame.Type, payload []byte) error {
	return h.node.sessions.Send(session.Peer(to), t, payload)
}

// says sets how the node lies from now on; nil: not at all.
func (h *hostile) says(rewrite func(to string, t frame.Type, payload []byte) [][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rewrite = rewrite
}

// relays sets how the node treats what it is to pass on from now on; nil: as a node does.
func (h *hostile) relays(passes func(from string, message []byte, take func([]byte))) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.passes = passes
}

// unharmed checks what must hold of the honest nodes whatever a member says: they run, are
// verified with each other, have direct ways to each other, block nobody of themselves,
// and name none but members. Those between whom there is no honest way need none.
func (m *testMesh) unharmed(liar string) error {
	for name, n := range m.nodes {
		if name == liar {
			continue
		}
		select {
		case err := <-n.done:
			n.done <- err
			return fmt.Errorf("%s has ended: %v", name, err)
		default:
		}
		s := n.Status()
		for _, p := range s.Peers {
			if p.Name != liar && m.nodes[p.Name] != nil && !m.apart(name, p.Name) && (p.Session != "verified" || p.Status != "reachable") {
				return fmt.Errorf("%s sees %s %s, session %s", name, p.Name, p.Status, p.Session)
			}
		}
		for _, r := range s.Routes {
			if !slices.Contains(m.names, r.Destination) {
				return fmt.Errorf("%s has a route to %q", name, r.Destination)
			}
			if r.Destination != liar && r.NextHop == liar && !m.apart(name, r.Destination) {
				return fmt.Errorf("%s goes to %s by the liar", name, r.Destination)
			}
		}
		for _, o := range m.names {
			if o != name && o != liar && m.nodes[o] != nil && !m.apart(name, o) && n.next(o) == "" {
				return fmt.Errorf("%s has no way to %s", name, o)
			}
		}
		if err := namesOnly(n, m.names); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// namesOnly checks the labels of a node's metrics.
func namesOnly(n *testNode, members []string) error {
	families, err := n.cfg.Registry.(*prometheus.Registry).Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				named := slices.Contains([]string{metric.LabelPeer, metric.LabelDestination, metric.LabelNextHop}, l.GetName())
				if !utf8.ValidString(l.GetValue()) || named && !slices.Contains(members, l.GetValue()) {
					return fmt.Errorf("%s{%s=%q}", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
	return nil
}

// present lists the members that have not left for good.
type present struct {
	mu   sync.Mutex
	all  Static
	gone map[string]bool
}

func (p *present) Members(context.Context) ([]Member, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.all), func(m Member) bool { return p.gone[m.Name] }), nil
}

// leave stops a node that does not come back: discovery lists it no more.
func (m *testMesh) leave(name string) {
	m.t.Helper()
	p := m.discover.(*present)
	p.mu.Lock()
	p.gone[name] = true
	p.mu.Unlock()
	m.stop(name, false)
}

// refused sums what a node refused of a peer, by type.
func (n *testNode) refused(peer string) map[string]float64 {
	got := map[string]float64{}
	for _, typ := range metric.MessageTypes() {
		if v := testutil.ToFloat64(n.metrics.MessagesRefused.WithLabelValues(peer, typ)); v > 0 {
			got[typ] = v
		}
	}
	return got
}

// TestEveryFieldHostile sends every type of message that members exchange with every field
// of it hostile: nobody ends, nobody but the liar suffers, it is counted by type and
// becomes an incident, which ends after it has left.
func TestEveryFieldHostile(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		rng := rand.New(rand.NewPCG(1, 1))
		liar := zoneNames[4]
		h := m.turn(liar)
		m.discover = &present{all: m.all, gone: map[string]bool{}}
		// First it says what a node says, from its first word on, and all of it is taken down.
		types := []frame.Type{
			frame.Heartbeat, frame.HeartbeatEcho, frame.ProbeRequest, frame.ProbeReply, frame.Routing, frame.Data, frame.DataAck, frame.Client,
		}
		said := map[frame.Type]map[string][]byte{} // by a rough shape, so that all kinds come up
		var record lies.Record
		h.says(func(_ string, t frame.Type, payload []byte) [][]byte {
			if t == frame.Data && lies.IsRecord(payload) {
				record = payload
			}
			if said[t] == nil {
				said[t] = map[string][]byte{}
			}
			if shape := fmt.Sprintf("%d/%.3q", len(payload)/64, payload[:min(3, len(payload))]); len(said[t]) < 40 {
				said[t][shape] = payload
			}
			return [][]byte{payload}
		})
		m.up()
		defer m.down()
		if _, _, err := m.nodes[liar].Accept(t.Context(), "mine", make([]byte, 100), 0); err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			name := zoneNames[i%4]
			if _, _, err := m.nodes[name].Accept(t.Context(), fmt.Sprintf("record-%d", i), []byte("kept"), 0); err != nil {
				t.Fatal(err)
			}
			if _, err := m.nodes[zoneNames[i%5]].CreateSession(t.Context(), []byte("state")); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		probe := append(make([]byte, 16), zoneNames[1]...)
		h.mu.Lock()
		said[frame.ProbeRequest] = map[string][]byte{"": probe}
		said[frame.ProbeReply] = map[string][]byte{"": probe}
		relayed := append([]byte{3, byte(len(liar))}, liar...)
		relayed = append(append(relayed, byte(len(zoneNames[0]))), zoneNames[0]...)
		said[frame.Relay] = map[string][]byte{"": append(relayed, make([]byte, frame.HeaderLen)...)}
		said[frame.Challenge] = map[string][]byte{"": make([]byte, 41)}
		said[frame.PathProbe] = map[string][]byte{"": make([]byte, 1000)}
		said[frame.PathEcho] = map[string][]byte{"": {5, 0}}
		said[frame.AttestationProof] = map[string][]byte{"": make([]byte, 8+identity.SignatureSize)}
		for i, b := range lies.Sessions(liar) {
			said[frame.Client][fmt.Sprint("kind ", i)] = b
		}
		for i, b := range lies.Questions(liar) {
			said[frame.Data][fmt.Sprint("kind ", i)] = b
		}
		h.mu.Unlock()
		h.says(nil)
		for _, typ := range append(types, frame.Relay, frame.Challenge, frame.AttestationProof, frame.PathProbe, frame.PathEcho, frame.ClassControl|0xf, frame.ClassData|0xf) {
			h.mu.Lock()
			messages := slices.Collect(maps.Values(said[typ]))
			h.mu.Unlock()
			if len(messages) == 0 {
				if typ.Class() != frame.ClassControl && typ.Class() != frame.ClassData || slices.Contains(types, typ) {
					t.Fatalf("the node never sent a message of type %#x", uint8(typ))
				}
				messages = [][]byte{make([]byte, 20)}
			}
			for _, b := range messages {
				for i, bad := range lies.Twist(rng, b, 300) {
					// What it says of itself may cost it its sessions for a while.
					if err := h.send(zoneNames[i%3], typ, bad); err != nil && !errors.Is(err, session.ErrNoSession) {
						t.Fatalf("type %#x, %d bytes: %v", uint8(typ), len(bad), err)
					}
					if i%50 == 0 {
						time.Sleep(20 * time.Millisecond)
					}
				}
			}
		}
		victim := m.nodes[zoneNames[0]]
		// At random a record may always be malformed, and not only signed wrongly.
		forged, err := record.Rewritten(func(content map[string]any) { content["body"] = "b3RoZXI=" })
		if err != nil {
			t.Fatal(err)
		}
		m.within(30*time.Second, "a record with a wrong signature is refused", func() error {
			before := victim.refused(liar)[metric.MessageRecord]
			if err := h.send(zoneNames[0], frame.Data, forged); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
			if victim.refused(liar)[metric.MessageRecord] == before {
				return errors.New("none was refused")
			}
			return nil
		})
		time.Sleep(2 * time.Second)
		if err := m.unharmed(liar); err != nil {
			t.Error(err)
		}
		got := victim.refused(liar)
		for _, typ := range metric.MessageTypes() {
			if got[typ] == 0 {
				t.Errorf("nothing of type %s was refused: %v", typ, got)
			}
		}
		for _, o := range zoneNames[1:4] {
			if r := victim.refused(o); len(r) > 0 {
				t.Errorf("of the honest %s was refused: %v", o, r)
			}
		}
		if !slices.Contains(victim.openIncidents(), metric.Misbehaviour+" of "+liar) {
			t.Errorf("open incidents: %v", victim.openIncidents())
		}
		for i := range 8 {
			for _, name := range zoneNames[:4] {
				if r, err := m.nodes[name].Record(fmt.Sprintf("record-%d", i)); err != nil || string(r.Body) != "kept" {
					t.Errorf("record %d at %s: %q, %v", i, name, r.Body, err)
				}
			}
		}
		m.leave(liar)
		m.within(time.Minute, "all incidents over after the liar has left", func() error {
			for name, n := range m.nodes {
				if open := n.openIncidents(); len(open) > 0 {
					return fmt.Errorf("%s: %v", name, open)
				}
			}
			return nil
		})
		if err := m.unharmed(liar); err != nil {
			t.Error(err)
		}
	})
}
