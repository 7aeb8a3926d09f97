package main

import (
	"context"
	wire "encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	lies "github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// liar is a member of a cluster that runs other code: it is enrolled, keeps sessions and
// answers heartbeats as a node does, and says whatever a test has it say.
type liar struct {
	*session.Manager
	detector *detect.Detector
	mu       sync.Mutex
	heard    map[frame.Type][][]byte // some of what others said, by type
	record   lies.Record             // one that it was sent
	// lie is told of a message before the detector is, and says whether that is not to hear of it.
	lie   func(from session.Peer, t frame.Type, payload []byte) bool
	lied  int
	leave func()
}

// enlist enrols the liar in place of a node and has it meet the others.
func (c *cluster) enlist(name string) *liar {
	c.t.Helper()
	l := &liar{heard: map[frame.Type][][]byte{}, detector: detect.New(detect.Config{Self: name, Incarnation: rand.Uint64() | 1})}
	ctx, cancel := context.WithCancel(context.Background())
	var conn *transport.UDP
	if err := inNamespace(c.procs[name].ns, func() (err error) {
		conn, err = transport.ListenUDP(netip.AddrPortFrom(netip.MustParseAddr(c.procs[name].ip), frame.Port), "eth0")
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
	// Its certificate is one that the mesh's authority would give it.
	authority, err := identity.OpenAuthority(filepath.Join(c.dir, "authority"))
	if err != nil {
		c.t.Fatal(err)
	}
	id, err := authority.NewNode(name, "", time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	l.Manager, err = session.New(session.Config{Identity: id, Transport: conn, Table: noTable{}, OnMessage: l.hear})
	if err != nil {
		c.t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		if err := l.Run(ctx); err != nil {
			c.t.Errorf("liar: %v", err)
		}
	})
	done.Go(func() { l.beat(ctx) })
	l.leave = sync.OnceFunc(func() { cancel(); done.Wait() })
	c.t.Cleanup(l.leave)
	for _, n := range c.names {
		if n != name {
			l.mu.Lock()
			l.detector.Add(time.Now(), n)
			l.mu.Unlock()
			l.Connect(session.Peer(n), netip.AddrPortFrom(netip.MustParseAddr(c.procs[n].ip), frame.Port))
		}
	}
	return l
}

// noTable stands for the table of a kernel that does not verify.
type noTable struct{}

func (noTable) Put(frame.SessionID, session.Entry) error              { return nil }
func (noTable) Delete(frame.SessionID) error                          { return nil }
func (noTable) Revoke(frame.SessionID) error                          { return nil }
func (noTable) SetVerifiedUntil(frame.SessionID, time.Duration) error { return nil }

// beat sends heartbeats and judges overdue challenges, as a node's loop does.
func (l *liar) beat(ctx context.Context) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			l.Judge()
			l.mu.Lock()
			out := l.detector.Tick(now)
			l.mu.Unlock()
			l.send(out)
		}
	}
}

func (l *liar) send(out detect.Output) {
	for _, m := range out.Send {
		_ = l.Send(session.Peer(m.To), m.Type, m.Payload) // without a session a heartbeat is lost, as on the wire
	}
}

func (l *liar) hear(p session.Peer, t frame.Type, payload []byte) {
	payload = slices.Clone(payload)
	l.mu.Lock()
	if t == frame.Data && lies.IsRecord(payload) {
		l.record = payload
	}
	if len(l.heard[t]) < 5 {
		l.heard[t] = append(l.heard[t], payload)
	}
	var out detect.Output
	lied := l.lie != nil && l.lie(p, t, payload)
	if !lied && t.Class() == frame.ClassControl && t != frame.Routing {
		out, _ = l.detector.Receive(time.Now(), string(p), t, payload) // the honest say nothing malformed
	}
	l.mu.Unlock()
	l.send(out)
}

// said is what a node says in messages of a type; what is not heard in this cluster is
// made up.
func (l *liar) said(t frame.Type, about string) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if all := slices.Clone(l.heard[t]); len(all) > 0 {
		return all
	}
	if t == frame.Relay {
		b := append([]byte{3, 4}, "liar"...)
		b = append(append(b, byte(len(about))), about...)
		return [][]byte{append(b, make([]byte, frame.HeaderLen)...)}
	}
	return [][]byte{append(make([]byte, 9), about...), make([]byte, 41)}
}

// honest are the nodes but the liar.
func (c *cluster) honest(liar string) []string {
	return slices.DeleteFunc(slices.Clone(c.names), func(n string) bool { return n == liar })
}

// diverted is an error if an honest node goes to another one by the liar, who announces
// no way that there is.
func (c *cluster) diverted(liar string) error {
	for _, n := range c.honest(liar) {
		for _, o := range c.honest(liar) {
			if v, err := c.metric(n, metric.RouteMetric, map[string]string{metric.LabelDestination: o, metric.LabelNextHop: liar}); err != nil || v != 0 {
				return fmt.Errorf("%s goes to %s by the liar: %v, %w", n, o, v, err)
			}
		}
	}
	return nil
}

// unharmed checks that the processes of a cluster run, and that those but the liar's are
// verified and reachable for each other, directly.
func (c *cluster) unharmed(liar string) error {
	honest := c.honest(liar)
	for _, n := range honest {
		v, err := c.metric(n, metric.Sessions, map[string]string{metric.LabelState: metric.StateVerified})
		if err != nil || int(v) < len(honest)-1 {
			return fmt.Errorf("%s: %v sessions verified, %w", n, v, err)
		}
		for _, o := range honest {
			if o == n {
				continue
			}
			if v, err := c.metric(n, metric.PeerStatus, map[string]string{metric.LabelPeer: o, metric.LabelStatus: metric.StatusReachable}); err != nil || v != 1 {
				return fmt.Errorf("%s: %s is not reachable, %w", n, o, err)
			}
			if v, err := c.metric(n, metric.RouteMetric, map[string]string{metric.LabelDestination: o, metric.LabelNextHop: o}); err != nil || v == 0 {
				return fmt.Errorf("%s goes another way to %s, %w", n, o, err)
			}
		}
	}
	return nil
}

// TestRealHostileMember has an enrolled member lie to real nodes with the real verifier. It
// announces another node under a high incarnation, and diverts nothing, neither while it
// is there nor after it has left. And it sends every type of message with every field
// hostile: no process ends, the others stay verified and reachable for each other, what
// was written can be read, and it is counted by type.
func TestRealHostileMember(t *testing.T) {
	c := newCluster(t, "a-0", "a-1", "b-0", "liar")
	for _, n := range c.names[:3] {
		c.start(n)
	}
	l := c.enlist("liar")
	c.within(20*time.Second, "every pair verified", func() error {
		for _, n := range c.names[:3] {
			if v, err := c.metric(n, metric.Sessions, map[string]string{metric.LabelState: metric.StateVerified}); err != nil || v != 3 {
				return fmt.Errorf("%s: %v sessions verified, %w", n, v, err)
			}
			if v, err := c.metric(n, metric.PeerStatus, map[string]string{metric.LabelPeer: "liar", metric.LabelStatus: metric.StatusReachable}); err != nil || v != 1 {
				return fmt.Errorf("%s does not reach the liar, %w", n, err)
			}
		}
		return c.unharmed("liar")
	})
	for i, n := range c.names[:3] {
		c.put(n, fmt.Sprintf("kept-%d", i), 2)
	}
	// Another node is announced under a high incarnation: nothing is diverted.
	for range 10 {
		for _, proof := range [][]byte{nil, make([]byte, 16)} {
			b := append([]byte{1, 3}, "a-1"...)
			b = wire.BigEndian.AppendUint64(b, 1<<63)
			b = wire.BigEndian.AppendUint32(b, 1)
			b = append(append(b, 255, 16), proof...)
			if err := l.Send("a-0", frame.Routing, b); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.diverted("liar"); err != nil {
			t.Fatal(err)
		}
	}
	if v := c.count("a-0", metric.MessagesRefusedTotal, map[string]string{metric.LabelPeer: "liar", metric.LabelType: metric.MessageRouting}); v == 0 {
		t.Error("a-0 refused no announcement: the test proves nothing")
	}

	rng := rand.New(rand.NewPCG(1, 1))
	types := []frame.Type{
		frame.Heartbeat, frame.HeartbeatEcho, frame.ProbeRequest, frame.ProbeReply, frame.Routing, frame.Challenge, frame.AttestationProof,
		frame.PathProbe, frame.PathEcho,
		frame.Data, frame.DataAck, frame.Client, frame.Relay, frame.ClassControl | 0xf, frame.ClassData | 0xf,
	}
	c.within(10*time.Second, "the liar has heard how a node speaks", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.record == nil {
			return errors.New("no record")
		}
		for _, typ := range []frame.Type{frame.Heartbeat, frame.Routing, frame.Data} {
			if len(l.heard[typ]) == 0 {
				return fmt.Errorf("nothing of type %#x", uint8(typ))
			}
		}
		return nil
	})
	sent, variants := 0, 20
	if os.Getenv("MESH_TEST_LONG") != "" {
		variants = 300
	}
	for _, typ := range types {
		for _, said := range l.said(typ, "a-1") {
			for i, bad := range append(lies.Twist(rng, said, variants), lies.Lengths(said)...) {
				err := l.Send(session.Peer(c.names[i%3]), typ, bad)
				if err == nil {
					sent++
				} else if !errors.Is(err, session.ErrNoSession) && !errors.Is(err, session.ErrTooLarge) {
					t.Fatalf("type %#x, %d bytes: %v", uint8(typ), len(bad), err)
				}
				if i%20 == 19 {
					<-time.After(5 * time.Millisecond) // the nodes' sockets hold so much
				}
			}
		}
	}
	forged, err := l.record.Rewritten(func(content map[string]any) { content["body"] = "b3RoZXI=" })
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.names[:3] {
		refused := func() float64 {
			return c.count(n, metric.MessagesRefusedTotal, map[string]string{metric.LabelPeer: "liar", metric.LabelType: metric.MessageRecord})
		}
		before := refused() // some of what was said at random may have been one
		c.within(20*time.Second, "a record that its origin has not signed is refused", func() error {
			// What it said before may have cost it its session for a while.
			if err := l.Send(session.Peer(n), frame.Data, forged); err != nil {
				return err
			}
			if refused() == before {
				return errors.New(n + " has refused none")
			}
			return nil
		})
	}
	if sent < 500 {
		t.Errorf("%d hostile messages were sent: the test proves nothing", sent)
	}
	took := c.within(20*time.Second, "the honest are well", func() error { return c.unharmed("liar") })
	for _, n := range c.names[:3] {
		for _, typ := range metric.MessageTypes() {
			if v := c.count(n, metric.MessagesRefusedTotal, map[string]string{metric.LabelPeer: "liar", metric.LabelType: typ}); v == 0 {
				t.Errorf("%s refused nothing of type %s", n, typ)
			}
		}
		for i := range 3 {
			code, body, err := c.request(http.MethodGet, n, fmt.Sprintf("%s/kept-%d", api.RecordsPath, i), "")
			if err != nil || code != http.StatusOK || string(body) != fmt.Sprintf("body of kept-%d", i) {
				t.Errorf("%s has lost a record: %d %q %v", n, code, body, err)
			}
		}
	}

	l.leave()
	c.within(20*time.Second, "the liar is gone", func() error {
		if v, err := c.metric("a-0", metric.PeerStatus, map[string]string{metric.LabelPeer: "liar", metric.LabelStatus: metric.StatusReachable}); err != nil || v != 0 {
			return fmt.Errorf("it is reachable, %w", err)
		}
		return c.unharmed("liar")
	})
	if err := c.diverted("liar"); err != nil {
		t.Error(err)
	}
	t.Logf("%d hostile messages, all well %v after", sent, took)
}
