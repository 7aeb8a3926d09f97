package node

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/route"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// Sizes on the wire in bytes.
const (
	ipUDP     = 20 + 8
	sealBytes = 16
	challenge = ipUDP + frame.HeaderLen + 8 + 32 + sealBytes // epoch and challenge
)

// attestation is what one attestation costs its two sides together.
func attestation() int {
	size := challenge
	for _, part := range transport.Split(make([]byte, 8+identity.SignatureSize), frame.MaxPayload) {
		size += ipUDP + frame.HeaderLen + len(part)
	}
	return size
}

// barControl is what a node of any mesh may send for control.
const barControl = 64 << 10 // bytes per second

// model is a mesh of any size in virtual time: the real failure detectors and
// routing tables with their real encoders, over links of 1 ms without loss.
// Signatures are not made, for 500 nodes would need thousands a second: every
// two neighbours that reach each other are charged with one attestation a second
// each way, at the size that its frames have. Handshakes, which happen once an
// hour, are left out.
type model struct {
	now   time.Time
	names []string
	nodes map[string]*modelNode
	wire  []modelPacket
	next  []modelPacket
}

type modelNode struct {
	name   string
	detect *detect.Detector
	routes *route.Table
	down   bool
	sent   struct{ heartbeats, attestations, routing int } // bytes
}

type modelPacket struct {
	from, to *modelNode
	typ      frame.Type
	payload  []byte
}

func newModel(size int) *model {
	m := &model{now: time.Unix(1e9, 0), nodes: map[string]*modelNode{}}
	for i := range size {
		m.names = append(m.names, fmt.Sprintf("mesh-node-a-%d", i))
	}
	for i, name := range m.names {
		m.nodes[name] = &modelNode{
			name: name, routes: route.New(name, modelVoucher(name)),
			detect: detect.New(detect.Config{Self: name, Incarnation: uint64(m.now.UnixNano()), Rand: rand.New(rand.NewPCG(uint64(i), 1))}),
		}
		for _, n := range route.Neighbours(name, m.names) {
			m.nodes[name].detect.Add(m.now, n)
		}
	}
	return m
}

// modelVoucher makes no signatures, but what has their size.
type modelVoucher string

func (v modelVoucher) Vouch(statement func(time.Time) []byte) (certificate, signature []byte) {
	statement(time.Unix(1e9, 0))
	const rest = 5 + 16 + 8 + 8 + 1 + 1 + 6 + identity.PublicKeySize + identity.SignatureSize
	return append([]byte(v), make([]byte, rest)...), make([]byte, identity.SignatureSize)
}

func (modelVoucher) Confirm(certificate, _, _ []byte) (string, time.Time, error) {
	name, _, _ := strings.Cut(string(certificate), "\x00")
	return name, time.Unix(1e9, 0), nil
}

// send charges a sealed message to a node and puts it on the wire.
func (m *model) send(n *modelNode, to string, t frame.Type, payload []byte) {
	size := 0
	for _, part := range transport.Split(payload, frame.MaxPayload-sealBytes) {
		size += ipUDP + frame.HeaderLen + len(part) + sealBytes
	}
	if t == frame.Routing {
		n.sent.routing += size
	} else {
		n.sent.heartbeats += size
	}
	if o := m.nodes[to]; !o.down {
		m.next = append(m.next, modelPacket{n, o, t, payload})
	}
}

func (m *model) sendRoutes(n *modelNode, out route.Output) {
	for _, s := range out.Send {
		m.send(n, s.To, frame.Routing, s.Payload)
	}
}

// sendDetector does what the control goroutine and the loop do about changes.
func (m *model) sendDetector(n *modelNode, out detect.Output) {
	for _, s := range out.Send {
		m.send(n, s.To, s.Type, s.Payload)
	}
	for _, c := range out.Changes {
		switch c.To {
		case detect.Reachable:
			m.sendRoutes(n, n.routes.SetLink(m.now, c.Peer, 255))
		case detect.Unreachable:
			m.sendRoutes(n, n.routes.Fail(m.now, c.Peer))
		}
	}
}

// run lets virtual time pass in steps of a millisecond while something is on the
// wire, and of the tick of the control goroutine otherwise.
func (m *model) run(t testing.TB, d time.Duration) {
	const step = time.Millisecond
	for end := m.now.Add(d); m.now.Before(end); m.now = m.now.Add(step) {
		m.wire, m.next = m.next, m.wire[:0]
		for _, p := range m.wire {
			if p.typ == frame.Routing {
				out, err := p.to.routes.Receive(m.now, p.from.name, p.payload)
				if err != nil {
					t.Fatal(err)
				}
				m.sendRoutes(p.to, out)
				continue
			}
			out, err := p.to.detect.Receive(m.now, p.from.name, p.typ, p.payload)
			if err != nil {
				t.Fatal(err)
			}
			m.sendDetector(p.to, out)
		}
		at := m.now.UnixMilli()
		for i, name := range m.names {
			// The nodes do not tick at the same time.
			if n := m.nodes[name]; !n.down && (at+int64(i))%tick.Milliseconds() == 0 {
				m.tick(n, (at+int64(i))%measure.Milliseconds() == 0, (at+int64(i))%1000 == 0)
			}
		}
	}
}

func (m *model) tick(n *modelNode, measures, attests bool) {
	m.sendDetector(n, n.detect.Tick(m.now))
	m.sendRoutes(n, n.routes.Tick(m.now))
	if !measures {
		return
	}
	for _, l := range n.detect.Links() {
		if l.Status != detect.Reachable {
			continue
		}
		m.sendRoutes(n, n.routes.SetLink(m.now, l.Peer, l.Quality))
		if attests {
			n.sent.attestations += attestation()
		}
	}
}

// whole says which two nodes have no way, or a wrong one.
func (m *model) whole() error {
	for _, from := range m.names {
		if m.nodes[from].down {
			continue
		}
		for _, to := range m.names {
			at := from
			for range m.names {
				if next, ok := m.nodes[at].routes.Next(to); ok && at != to && !m.nodes[at].down {
					at = next
				}
			}
			if at != to && !m.nodes[to].down {
				return fmt.Errorf("%s does not reach %s", from, to)
			}
		}
	}
	return nil
}

// until runs until every node reaches every other and returns how long it took.
func (m *model) until(t testing.TB, limit time.Duration) time.Duration {
	start := m.now
	for m.whole() != nil {
		if m.now.Sub(start) > limit {
			t.Fatalf("%d nodes, after %v: %v", len(m.names), limit, m.whole())
		}
		m.run(t, 100*time.Millisecond)
	}
	return m.now.Sub(start)
}

// spent is what nodes send per second.
type spent struct{ heartbeats, attestations, routing, mean, worst float64 }

// measure counts for d.
func (m *model) measure(t testing.TB, d time.Duration) (s spent) {
	for _, n := range m.nodes {
		n.sent = modelNode{}.sent
	}
	m.run(t, d)
	for _, n := range m.nodes {
		s.heartbeats += float64(n.sent.heartbeats)
		s.attestations += float64(n.sent.attestations)
		s.routing += float64(n.sent.routing)
		s.worst = max(s.worst, float64(n.sent.heartbeats+n.sent.attestations+n.sent.routing))
	}
	for _, v := range []*float64{&s.heartbeats, &s.attestations, &s.routing} {
		*v /= d.Seconds() * float64(len(m.nodes))
	}
	s.mean = s.heartbeats + s.attestations + s.routing
	s.worst /= d.Seconds()
	return s
}

// controlTraffic measures a mesh of a size for several seconds and at least two
// of its routing intervals, once it is at rest.
func controlTraffic(t testing.TB, size int) spent {
	span := max(5*time.Second, 2*time.Duration(size)*25*time.Millisecond)
	m := newModel(size)
	took := m.until(t, 10*time.Second)
	m.run(t, span)
	s := m.measure(t, span)
	if err := m.whole(); err != nil {
		t.Errorf("%d nodes: %v", size, err)
	}
	degree := 0
	for _, n := range m.nodes {
		degree = max(degree, len(n.detect.Links()))
	}
	if s.worst > barControl {
		t.Errorf("%d nodes: %.1f KiB/s, at most %d are allowed", size, s.worst/1024, barControl/1024)
	}
	t.Logf("%3d nodes: %2d neighbours at most, whole after %v; KiB/s per node: heartbeats %.1f, attestations %.1f, routing %.1f; in all %.1f, worst node %.1f",
		size, degree, took, s.heartbeats/1024, s.attestations/1024, s.routing/1024, s.mean/1024, s.worst/1024)
	return s
}

// TestControlTraffic: what a node sends for control stays bounded. 500 nodes
// take minutes: they run with MESH_TEST_LONG and in the benchmark.
func TestControlTraffic(t *testing.T) {
	sizes := []int{5, route.FullMesh, route.FullMesh + 1, 50}
	if os.Getenv("MESH_TEST_LONG") != "" {
		sizes = append(sizes, 500)
	}
	for _, size := range sizes {
		controlTraffic(t, size)
	}
}

// BenchmarkControlTraffic prints the table of control traffic by mesh size.
func BenchmarkControlTraffic(b *testing.B) {
	for _, size := range []int{5, 50, 500} {
		b.Run(fmt.Sprintf("nodes=%d", size), func(b *testing.B) {
			var s spent
			for b.Loop() {
				s = controlTraffic(b, size)
			}
			b.ReportMetric(s.heartbeats, "heartbeats-B/s")
			b.ReportMetric(s.attestations, "attestations-B/s")
			b.ReportMetric(s.routing, "routing-B/s")
			b.ReportMetric(s.mean, "B/s/node")
			b.ReportMetric(s.worst, "worst-B/s")
		})
	}
}

// TestLostNodeInALargeMesh: ways through a node that dies are replaced within
// a second of its detection, although announcements are further apart.
func TestLostNodeInALargeMesh(t *testing.T) {
	m := newModel(100)
	m.until(t, 10*time.Second)
	m.run(t, 10*time.Second)
	rest := m.measure(t, 5*time.Second)
	dead := m.names[17]
	m.nodes[dead].down = true
	m.run(t, time.Second)
	took := m.until(t, time.Second)
	m.run(t, 4*time.Second-took)
	storm := m.measure(t, 5*time.Second)
	t.Logf("whole %v after the death; KiB/s per node before %.1f, after %.1f", time.Second+took, rest.mean/1024, storm.mean/1024)
	if slices.ContainsFunc(m.nodes[m.names[0]].routes.Routes(), func(r route.Route) bool { return r.NextHop == dead }) {
		t.Error("a way through the dead node")
	}
}
