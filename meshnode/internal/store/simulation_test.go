package store

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// simulation is several stores with their replicators, their disks, the network
// between them and clients, in a synctest bubble. Everything that happens
// follows from the seed: each link, node and client draws from a source of its
// own, and no two things happen at the same nanosecond (see moment and slot), so that
// one goroutine at a time has something to do.
type simulation struct {
	seed  uint64
	dir   string
	start time.Time
	names []string
	wg    sync.WaitGroup // clients

	mu      sync.Mutex
	taken   map[time.Duration]bool // moments, modulo period
	nodes   map[string]*simNode
	links   map[[2]string]*simLink
	weather weather
	check   *checker
	hash    uint64
	events  []string // the last of them
	over    bool
}

// keepEvents is how many events a failure prints.
const keepEvents = 4000

type weather struct {
	loss, double float64
	jitter       time.Duration
}

type simLink struct {
	index  int
	rng    *rand.Rand
	cut    bool
	arrive time.Time              // of the latest message
	taken  map[time.Duration]bool // slots
}

type simNode struct {
	s    *simulation
	name string
	rng  *rand.Rand // of its disk and of the times at which it sees what happens
	view map[string]bool
	slow bool     // to see what it can reach, until its next start
	run  *process // nil while it is down

	clock bubble.Clock
}

// process is a node from a start to a crash.
type process struct {
	node   *simNode
	store  *Store
	repl   *Replicator
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	dead   bool   // nothing leaves it any more
	armed  bool   // to crash within its next write
	torn   []byte // what that write left of the file
}

func newSimulation(seed uint64, dir string) *simulation {
	s := &simulation{
		seed: seed, dir: dir, start: time.Now(), check: newChecker(),
		taken: map[time.Duration]bool{0: true}, nodes: map[string]*simNode{}, links: map[[2]string]*simLink{},
	}
	rng := s.source("nodes")
	for i := range 3 + rng.IntN(3) {
		s.names = append(s.names, string(rune('a'+i)))
	}
	for _, a := range s.names {
		s.nodes[a] = &simNode{s: s, name: a, rng: s.source("node " + a), view: map[string]bool{}}
		for _, b := range s.names {
			s.links[[2]string{a, b}] = &simLink{index: len(s.links), rng: s.source("link " + a + b), taken: map[time.Duration]bool{}}
		}
	}
	return s
}

// source returns the random numbers of one part of the simulation.
func (s *simulation) source(part string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(part))
	return rand.New(rand.NewPCG(s.seed, h.Sum64()))
}

const (
	// Every microsecond has nanoseconds for what nodes and clients do, and after these
	// for what each of the links delivers.
	forMoments = 500
	forSlots   = 20 // for each link
	// period divides the time from any moment to all that follows from it, such as the
	// ticks of a timer that was started then.
	period = 10 * time.Millisecond
)

// moment returns how long it takes until about d from now, a time at which nothing
// else happens, nor will as the sequel of anything else; s.mu is held.
func (s *simulation) moment(d time.Duration) time.Duration {
	now := time.Since(s.start)
	at := now + d
	at += at%forMoments - at%time.Microsecond // the same microsecond, in its first part
	for at <= now || s.taken[at%period] {
		if at++; at%time.Microsecond == forMoments {
			at += time.Microsecond - forMoments
		}
	}
	s.taken[at%period] = true
	return at - now
}

// slot is a moment of a link of its own.
func (l *simLink) slot(s *simulation, d time.Duration) time.Duration {
	now := time.Since(s.start)
	first := (now + d).Truncate(time.Microsecond) + forMoments + time.Duration(l.index*forSlots)
	at := first
	for ; at <= now || l.taken[at]; at++ {
		if at-first == forSlots-1 {
			first += time.Microsecond
			at = first - 1
		}
	}
	l.taken[at] = true
	return at - now
}

// sleep waits until a moment about d from now.
func (s *simulation) sleep(d time.Duration) {
	s.mu.Lock()
	d = s.moment(d)
	s.mu.Unlock()
	time.Sleep(d)
}

// event adds to the trace; s.mu is held.
func (s *simulation) event(format string, args ...any) {
	line := fmt.Sprintf("%12.6fms ", float64(time.Since(s.start))/1e6) + fmt.Sprintf(format, args...)
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s", s.hash, line)
	s.hash = h.Sum64()
	if len(s.events) == keepEvents {
		s.events = append(s.events[:0], s.events[keepEvents/2:]...)
	}
	s.events = append(s.events, line)
}

// Send implements Peers.
func (p *process) Send(peer string, t frame.Type, payload []byte) error {
	s, from := p.node.s, p.node.name
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[[2]string{from, peer}]
	lost, double := l.rng.Float64() < s.weather.loss, l.rng.Float64() < s.weather.double
	delays := [2]time.Duration{time.Duration(l.rng.Int64N(int64(s.weather.jitter))), time.Duration(l.rng.Int64N(int64(s.weather.jitter)))}
	if p.dead || l.cut {
		return nil
	}
	if lost {
		s.check.counts.MessagesLost++
		return nil
	}
	copies := 1
	if double {
		copies = 2
		s.check.counts.Doubled++
	}
	disks := s.check.disks[from]
	payload = append([]byte(nil), payload...)
	for _, d := range delays[:copies] {
		const latency = 500 * time.Microsecond
		after := l.slot(s, latency+d)
		if at := time.Now().Add(after); at.Before(l.arrive) {
			s.check.counts.Reordered++
		} else {
			l.arrive = at
		}
		time.AfterFunc(after, func() { s.deliver(from, peer, t, payload, disks) })
	}
	return nil
}

func (s *simulation) deliver(from, to string, t frame.Type, payload []byte, disks int) {
	s.mu.Lock()
	p := s.nodes[to].run
	// A session does not outlive the disk that its node's identity was on.
	arrives := !s.links[[2]string{from, to}].cut && p != nil && !p.dead && s.check.disks[from] == disks
	if arrives {
		s.event("%s > %s: %v, %d bytes", from, to, t, len(payload))
	}
	s.mu.Unlock()
	if arrives {
		p.repl.Receive(from, t, payload)
	}
}

// Reachable implements Peers.
func (p *process) Refused(peer string, err error) {
	panic("refuses what " + peer + " sends: " + err.Error())
}

func (p *process) Reachable() []string {
	p.node.s.mu.Lock()
	defer p.node.s.mu.Unlock()
	return p.reachable()
}

// reachable needs the simulation's lock.
func (p *process) reachable() []string {
	var names []string
	for _, n := range p.node.s.names {
		if p.node.view[n] {
			names = append(names, n)
		}
	}
	return names
}

// changed makes every node notice after a while of its own what it can reach,
// some nodes only after an Accept has given up; s.mu is held.
func (s *simulation) changed() {
	for _, a := range s.names {
		for _, b := range s.names {
			if n := s.nodes[a]; a != b {
				after := 150*time.Millisecond + time.Duration(n.rng.Int64N(int64(time.Second)))
				if n.slow {
					after += 2 * time.Second
				}
				time.AfterFunc(s.moment(after), func() { s.observe(n, b) })
			}
		}
	}
}

func (s *simulation) observe(n *simNode, peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, other := n.run, s.nodes[peer].run
	up := other != nil && !other.dead && !s.links[[2]string{n.name, peer}].cut && !s.links[[2]string{peer, n.name}].cut
	if p == nil || n.view[peer] == up {
		return
	}
	n.view[peer] = up
	s.event("%s sees %s: %v", n.name, peer, up)
	if up && n.rng.IntN(2) == 0 {
		p.repl.Sync(peer)
	}
}

// boot starts a node's process; s.mu is held.
func (s *simulation) boot(n *simNode) error {
	dir := filepath.Join(s.dir, n.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	source := n.rng.Uint64()
	n.slow = n.rng.IntN(4) == 0
	if n.rng.IntN(4) == 0 { // another machine, or a battery that is empty
		s.check.counts.WrongStarts++
		s.event("%s starts with its clock %v off", n.name, n.clock.Step(n.rng))
	}
	st, err := openWith(dir, n.name, stamp(n.name), n.clock.Now, strings.NewReader(fmt.Sprintf("%08x", uint32(source))), simulated)
	if err != nil {
		return err
	}
	p := &process{node: n, store: st}
	st.update = p.update
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.repl = NewReplicator(st, p, func(int) {}, slog.New(slog.DiscardHandler))
	p.repl.chance = rand.New(rand.NewPCG(source, s.seed)).IntN
	for _, peer := range s.names {
		n.view[peer] = peer != n.name // until it knows better
	}
	n.run = p
	p.wg.Go(func() { p.repl.Run(p.ctx) })
	s.event("%s starts with %d records", n.name, st.Len())
	s.changed()
	return nil
}

// crash ends a process at once; s.mu is held. It is gone when its goroutines are.
func (s *simulation) crash(p *process, loseDisk bool) {
	p.dead = true
	s.check.counts.Crashes++
	s.event("%s crashes", p.node.name)
	down := time.Duration(200+p.node.rng.IntN(1500))*time.Millisecond + time.Duration(p.node.rng.IntN(1e6))
	time.AfterFunc(s.moment(0), func() {
		p.end()
		s.mu.Lock()
		defer s.mu.Unlock()
		p.node.run = nil
		s.changed()
		path := filepath.Join(s.dir, p.node.name, File)
		switch {
		case loseDisk:
			s.event("%s has lost its disk", p.node.name)
			s.check.loseDisk(p.node.name)
			if err := os.Remove(path); err != nil {
				s.check.fail("%v", err)
			}
		case p.torn != nil:
			if err := os.WriteFile(path, p.torn, 0o600); err != nil {
				s.check.fail("%v", err)
			}
		}
		time.AfterFunc(s.moment(down), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if err := s.boot(p.node); err != nil {
				s.check.fail("%s does not start after a crash: %v", p.node.name, err)
			}
		})
	})
}

// end waits for everything that a process does.
func (p *process) end() {
	p.cancel()
	p.wg.Wait()
	if err := p.store.Close(); err != nil {
		p.node.s.mu.Lock()
		defer p.node.s.mu.Unlock()
		p.node.s.check.fail("%v", err)
	}
}

var errCrashed = errors.New("the machine stopped")

// update stands in for the database's: every write reaches the disk, but for one
// within which the machine stops.
func (p *process) update(f func(*bbolt.Tx) error) error {
	s := p.node.s
	s.mu.Lock()
	armed := p.armed
	s.mu.Unlock()
	if !armed {
		return p.store.db.Update(f)
	}
	path := filepath.Join(s.dir, p.node.name, File)
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := p.store.db.Update(f); err != nil {
		return err
	}
	after, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.armed = false
	if p.dead {
		return errCrashed
	}
	torn, whole := tear(p.node.rng.Uint64(), before, after)
	p.torn = torn
	s.check.counts.Torn++
	if whole {
		s.check.counts.TornWhole++
	}
	s.crash(p, false)
	return errCrashed
}

// settle ends all faults and waits until the stores agree.
func (s *simulation) settle() {
	s.sleep(time.Millisecond)
	s.mu.Lock()
	s.over = true
	s.weather = weather{jitter: time.Millisecond}
	for _, l := range s.links {
		l.cut = false
	}
	for _, n := range s.nodes {
		if n.run != nil {
			n.run.armed = false
		}
	}
	s.event("all faults end")
	s.changed()
	s.mu.Unlock()
	s.wg.Wait()
	time.Sleep(4 * time.Second) // for the last restarts and what they see
	const limit = 30 * time.Second
	for start := time.Now(); !s.agree(); time.Sleep(100 * time.Millisecond) {
		if time.Since(start) > limit {
			s.mu.Lock()
			s.check.fail("the stores differ %v after the last fault", limit)
			s.mu.Unlock()
			return
		}
	}
}

func (s *simulation) agree() bool {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var first Vector
	for _, name := range s.names {
		p := s.nodes[name].run
		if p == nil {
			return false
		}
		v := p.store.Vector()
		if first == nil {
			first = v
		}
		if !reflect.DeepEqual(v, first) {
			return false
		}
	}
	return true
}

func dirOf(p *process) string { return filepath.Join(p.node.s.dir, p.node.name) }
