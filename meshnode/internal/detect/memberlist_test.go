package detect

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// rivals is memberlist nodes in a bubble, over a network like that of mesh.
type rivals struct {
	mu      sync.Mutex
	rng     *rand.Rand
	loss    float64
	latency time.Duration
	cut     map[string]bool // addresses that reach no one
	ends    map[string]*rivalEnd
	dead    []logged // declared dead, by whom and when
	nodes   []*memberlist.Memberlist
}

// rivalEnd is the Transport of one of them.
type rivalEnd struct {
	r       *rivals
	ip      net.IP
	packets chan *memberlist.Packet
	streams chan net.Conn
}

func (e *rivalEnd) addr() string { return net.JoinHostPort(e.ip.String(), "7946") }

func (e *rivalEnd) FinalAdvertiseAddr(string, int) (net.IP, int, error) { return e.ip, 7946, nil }
func (e *rivalEnd) PacketCh() <-chan *memberlist.Packet                 { return e.packets }
func (e *rivalEnd) StreamCh() <-chan net.Conn                           { return e.streams }
func (e *rivalEnd) Shutdown() error                                     { return nil }

func (e *rivalEnd) WriteTo(b []byte, addr string) (time.Time, error) {
	e.r.mu.Lock()
	defer e.r.mu.Unlock()
	now := time.Now()
	to := e.r.ends[addr]
	if to == nil || e.r.cut[e.addr()] || e.r.cut[addr] || e.r.rng.Float64() < e.r.loss {
		return now, nil
	}
	b = slices.Clone(b)
	time.AfterFunc(e.r.latency, func() {
		select {
		case to.packets <- &memberlist.Packet{Buf: b, From: &net.UDPAddr{IP: e.ip, Port: 7946}, Timestamp: time.Now()}:
		default: // the socket's buffer is full
		}
	})
	return now, nil
}

// segments is how many packets of a TCP connection have to arrive for a ping
// over it: two of the handshake, request and answer. A lost one is sent again
// after a second, too late for a probe.
const segments = 4

func (e *rivalEnd) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	e.r.mu.Lock()
	to := e.r.ends[addr]
	lost := to == nil || e.r.cut[e.addr()] || e.r.cut[addr]
	for range segments {
		lost = e.r.rng.Float64() < e.r.loss || lost
	}
	e.r.mu.Unlock()
	if lost {
		time.Sleep(timeout)
		return nil, errors.New("timeout")
	}
	ours, theirs := net.Pipe()
	to.streams <- theirs
	return ours, nil
}

// watcher notes who is declared dead.
type watcher struct {
	r    *rivals
	name string
}

func (w watcher) NotifyJoin(*memberlist.Node)   {}
func (w watcher) NotifyUpdate(*memberlist.Node) {}
func (w watcher) NotifyLeave(n *memberlist.Node) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.r.dead = append(w.r.dead, logged{w.name, Change{Peer: n.Name, Time: time.Now()}})
}

// newRivals starts n nodes that know each other; their pace is that of the LAN
// defaults times pace.
func newRivals(t *testing.T, n int, seed uint64, pace float64) *rivals {
	t.Helper()
	r := &rivals{
		rng: rand.New(rand.NewPCG(seed, 9)), latency: 500 * time.Microsecond, cut: map[string]bool{}, ends: map[string]*rivalEnd{},
	}
	for i := range n {
		e := &rivalEnd{r: r, ip: net.IPv4(10, 0, 0, byte(i+1)), packets: make(chan *memberlist.Packet, 4096), streams: make(chan net.Conn, 64)}
		r.mu.Lock()
		r.ends[e.addr()] = e
		r.mu.Unlock()
		c := memberlist.DefaultLANConfig()
		c.Name, c.Transport, c.LogOutput = fmt.Sprintf("n%02d", i), e, io.Discard
		c.Events = watcher{r, c.Name}
		for _, d := range []*time.Duration{&c.ProbeInterval, &c.ProbeTimeout, &c.GossipInterval} {
			*d = time.Duration(float64(*d) * pace)
		}
		m, err := memberlist.Create(c)
		if err != nil {
			t.Fatal(err)
		}
		r.nodes = append(r.nodes, m)
		if i > 0 {
			if _, err := m.Join([]string{net.JoinHostPort("10.0.0.1", "7946")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.settle(t)
	return r
}

// settle waits until each knows all. Gossip sends a message of a join a few
// times and to whom chance says, so it may miss one. Then the next exchange of
// whole states tells it, each 30 s with one neighbour.
func (r *rivals) settle(t *testing.T) {
	t.Helper()
	const deadline = 5 * time.Minute
	for range deadline / (20 * time.Second) {
		time.Sleep(20 * time.Second)
		if !slices.ContainsFunc(r.nodes, func(m *memberlist.Memberlist) bool { return m.NumMembers() != len(r.nodes) }) {
			return
		}
	}
	for _, m := range r.nodes {
		t.Errorf("after %v %s knows %d members of %d", deadline, m.LocalNode().Name, m.NumMembers(), len(r.nodes))
	}
	r.stop(t) // a bubble may not end before its goroutines
	t.FailNow()
}

func (r *rivals) stop(t *testing.T) {
	for _, m := range r.nodes {
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(11 * time.Second) // for its longest timeout, of TCP
}

// take returns what was declared dead since the last call.
func (r *rivals) take() []logged {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.dead
	r.dead = nil
	return d
}

// detectionTime is the median time after which a node that is cut off is
// declared dead, over all observers of some runs.
func (r *rivals) detectionTime() time.Duration {
	last := r.nodes[len(r.nodes)-1]
	cut := time.Now()
	r.mu.Lock()
	r.cut[last.LocalNode().Address()] = true
	r.mu.Unlock()
	time.Sleep(20 * time.Second)
	var times []time.Duration
	for _, d := range r.take() {
		if d.Peer == last.LocalNode().Name {
			times = append(times, d.Time.Sub(cut))
		}
	}
	return median(times)
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return time.Hour
	}
	slices.Sort(d)
	return d[len(d)/2]
}

func ourDetectionTime(t *testing.T, n int) time.Duration {
	var times []time.Duration
	for seed := range uint64(20) {
		m := newMesh(n, seed)
		m.settle(t)
		last, cut := m.names[n-1], m.now
		m.cut = func(a, b string) bool { return a == last || b == last }
		m.run(t, 5*time.Second)
		for _, c := range m.changes(Unreachable) {
			if c.Peer == last {
				times = append(times, c.Time.Sub(cut))
			}
		}
	}
	return median(times)
}

// TestFalseAlarmsBesideMemberlist: memberlist is set to detect a node that is
// gone as fast as this package does, and both get the same loss. The more
// patient of the two settings of memberlist is taken if none is equal.
func TestFalseAlarmsBesideMemberlist(t *testing.T) {
	const nodes = 5
	minutes := 2
	if os.Getenv("MESH_TEST_LONG") != "" {
		minutes = 60
	}
	ours := ourDetectionTime(t, nodes)
	pace, theirs := 0.0, time.Duration(0)
	for p := 0.1; p <= 1 && theirs < ours; p *= 1.15 {
		var times []time.Duration
		for seed := range uint64(3) {
			bubble.Test(t, func(t *testing.T) {
				r := newRivals(t, nodes, seed, p)
				times = append(times, r.detectionTime())
				r.stop(t)
			})
		}
		pace, theirs = p, median(times)
	}
	t.Logf("detection after %v here; memberlist after %v at %.2f of its LAN defaults (probe every %v)",
		ours, theirs, pace, time.Duration(pace*float64(time.Second)).Round(time.Millisecond))
	if theirs < ours {
		t.Fatal("no pace of memberlist is as slow")
	}
	sumOurs, sumTheirs := 0, 0
	for _, loss := range []float64{0.05, 0.1, 0.2, 0.3} {
		m := newMesh(nodes, 1)
		m.settle(t)
		m.loss = loss
		for range minutes {
			m.run(t, time.Minute)
		}
		a := len(m.changes(Unreachable))
		b := 0
		bubble.Test(t, func(t *testing.T) {
			r := newRivals(t, nodes, 1, pace)
			r.take()
			r.mu.Lock()
			r.loss = loss
			r.mu.Unlock()
			time.Sleep(time.Duration(minutes) * time.Minute)
			b = len(r.take())
			r.stop(t)
		})
		t.Logf("%2.0f %% loss, %d minutes of %d nodes: %d false alarms here, %d of memberlist", loss*100, minutes, nodes, a, b)
		sumOurs, sumTheirs = sumOurs+a, sumTheirs+b
	}
	if sumOurs > sumTheirs {
		t.Errorf("%d false alarms here, %d of memberlist", sumOurs, sumTheirs)
	}
}
