package home

import (
	"bytes"
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// sim is a mesh of tables under a clock of its own. The same seed gives the
// same run.
type sim struct {
	t        testing.TB
	rng      *rand.Rand
	now      time.Time
	queue    events
	serial   int
	names    []string
	nodes    map[string]*simNode
	cut      map[[2]string]bool
	loss     float64
	heals    bool // the loop takes lost sessions over
	migrated int
	results  map[string]func(Result) // by node, life and ticket
	rates    map[string]float64      // at which the nodes' clocks run, if not at 1
	offs     map[string]time.Duration
}

// skew makes the clocks of the nodes run up to 5 % wrong, each at a rate of its own, and each
// node that starts from now on has a clock that is set to anything within a day.
func (s *sim) skew() {
	for _, n := range s.names {
		s.rates[n] = 0.95 + 0.1*s.rng.Float64()
	}
}

// at is what a node's clock shows, which nothing sets while it runs.
func (s *sim) at(name string) time.Time {
	rate, ok := s.rates[name]
	if !ok {
		return s.now
	}
	start := time.Unix(1e9, 0)
	return start.Add(time.Duration(float64(s.now.Sub(start))*rate) + s.offs[name])
}

type simNode struct {
	*Table
	life int
	up   bool
	left bool // said goodbye
}

type event struct {
	at     time.Time
	serial int
	do     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].serial < e[j].serial
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any     { x := (*e)[len(*e)-1]; *e = (*e)[:len(*e)-1]; return x }

// detection is how long a node takes to see that a peer is lost, and how long
// that it is back.
const (
	detection = 1200 * time.Millisecond
	greeted   = 300 * time.Millisecond
)

func newSim(t testing.TB, seed uint64, heals bool, names ...string) *sim {
	s := &sim{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1e9, 0), names: names,
		nodes: map[string]*simNode{}, cut: map[[2]string]bool{}, heals: heals, results: map[string]func(Result){},
		rates: map[string]float64{}, offs: map[string]time.Duration{},
	}
	for _, n := range names {
		s.nodes[n] = &simNode{}
	}
	for _, n := range names {
		s.start(n)
	}
	return s
}

func (s *sim) after(d time.Duration, do func()) {
	s.serial++
	heap.Push(&s.queue, event{s.now.Add(d), s.serial, do})
}

// run lets time pass.
func (s *sim) run(d time.Duration) {
	end := s.now.Add(d)
	for len(s.queue) > 0 && !s.queue[0].at.After(end) {
		e := heap.Pop(&s.queue).(event)
		s.now = e.at
		e.do()
	}
	s.now = end
}

func (s *sim) start(name string) {
	n := s.nodes[name]
	n.life++
	if _, wrong := s.rates[name]; wrong {
		s.offs[name] = time.Duration(s.rng.Int64N(int64(48*time.Hour))) - 24*time.Hour
	}
	n.Table, n.up, n.left = New(s.at(name), name, Limits{}), true, false
	life := n.life
	var tick func()
	tick = func() {
		if n.life != life || !n.up {
			return
		}
		s.out(name, n.Tick(s.at(name)))
		s.after(Tick, tick)
	}
	s.after(time.Duration(s.rng.IntN(int(Tick))), tick)
	s.look()
}

// crash ends a node; its memory is lost.
func (s *sim) crash(name string) {
	s.nodes[name].up = false
	s.look()
}

func (s *sim) reaches(a, b string) bool {
	return s.nodes[a].up && s.nodes[b].up && !s.cut[[2]string{a, b}] && !s.cut[[2]string{b, a}]
}

// look lets every node see the mesh as it is now, after a while, and as its
// loop does, take the sessions of lost peers over.
func (s *sim) look() {
	for _, a := range s.names {
		for _, b := range s.names {
			if a == b {
				continue
			}
			delay := detection + time.Duration(s.rng.IntN(int(300*time.Millisecond)))
			if s.reaches(a, b) {
				delay = greeted + time.Duration(s.rng.IntN(int(300*time.Millisecond)))
			}
			was, life := s.reaches(a, b), s.nodes[a].life
			s.after(delay, func() { s.see(a, b, was, life) })
		}
	}
}

func (s *sim) see(a, b string, was bool, life int) {
	n := s.nodes[a]
	if !n.up || n.life != life || s.reaches(a, b) != was {
		return
	}
	v := View{Known: true}
	for _, p := range s.names {
		if p != a {
			v.Members = append(v.Members, p)
			if p == b && was || p != b && n.live[p] {
				v.Live = append(v.Live, p)
			}
		}
	}
	s.out(a, n.SetView(s.at(a), v))
	if !was && s.heals && !s.nodes[b].left {
		s.try(a, b, life)
	}
}

// try migrates as the loop does: again while it fails.
func (s *sim) try(a, b string, life int) {
	n := s.nodes[a]
	if !n.up || n.life != life || n.live[b] {
		return
	}
	out, err := n.Migrate(s.at(a), b)
	s.out(a, out)
	if err != nil || n.Homed(b) > 0 {
		s.after(300*time.Millisecond, func() { s.try(a, b, life) })
	}
}

// leave drains a node and then ends it with a goodbye.
func (s *sim) leave(name string) {
	n := s.nodes[name]
	s.out(name, n.Leave(s.at(name)))
	for range 40 {
		if n.Homed(name) == 0 {
			break
		}
		s.run(50 * time.Millisecond)
	}
	n.up, n.left = false, true
	for _, p := range s.names {
		o := s.nodes[p]
		if p == name || !o.up {
			continue
		}
		live := slices.DeleteFunc(slices.Sorted(maps.Keys(o.live)), func(x string) bool { return x == name })
		s.out(p, o.SetView(s.at(p), View{Known: true, Members: o.view.Members, Live: live}))
		o.Left(s.at(p), name)
	}
}

// out carries out what a table put out.
func (s *sim) out(from string, out Output) {
	s.migrated += out.Migrated
	for _, m := range out.Send {
		times := 1
		if s.loss > 0 && s.rng.Float64() < s.loss {
			times = s.rng.IntN(3) // none, as usual, or twice
		}
		to := s.nodes[m.To]
		for range times {
			life := to.life
			s.after(time.Duration(200+s.rng.IntN(3000))*time.Microsecond, func() {
				if to.life != life || !s.reaches(from, m.To) {
					return
				}
				o, err := to.Receive(s.at(m.To), from, m.Payload)
				if err != nil {
					s.t.Errorf("%s from %s: %v", m.To, from, err)
				}
				s.out(m.To, o)
			})
		}
	}
	for _, r := range out.Done {
		key := fmt.Sprintf("%s/%d/%d", from, s.nodes[from].life, r.Ticket)
		if f := s.results[key]; f != nil {
			delete(s.results, key)
			f(r)
		} else { // it came at once, before do could say who waits
			s.after(0, func() {
				if f := s.results[key]; f != nil {
					delete(s.results, key)
					f(r)
				}
			})
		}
	}
}

// do starts an operation at a node; f is called with its result, unless the
// node is gone by then.
func (s *sim) do(name string, r Request, f func(Result)) {
	n := s.nodes[name]
	if !n.up {
		s.after(time.Millisecond, func() { f(Result{Code: Busy, Reason: "down"}) })
		return
	}
	ticket, out := n.Do(s.at(name), r)
	s.results[fmt.Sprintf("%s/%d/%d", name, n.life, ticket)] = f
	s.out(name, out)
}

// must does an operation, again while the answer is Busy, and returns its result.
func (s *sim) must(name string, r Request, limit time.Duration) Result {
	s.t.Helper()
	for end := s.now.Add(limit); ; {
		var got *Result
		s.do(name, r, func(r Result) { got = &r })
		for got == nil && s.now.Before(end) {
			s.run(5 * time.Millisecond)
		}
		if got != nil && got.Code != Busy {
			return *got
		}
		if !s.now.Before(end) {
			if got == nil {
				got = &Result{Code: Busy, Reason: "no answer"}
			}
			return *got
		}
		s.run(20 * time.Millisecond)
	}
}

func id(n int) string { return fmt.Sprintf("%032x", n) }

func (s *sim) create(n int) string {
	s.t.Helper()
	r := s.must(s.names[n%len(s.names)], Request{Op: Create, ID: id(n), Body: []byte("new")}, 2*time.Second)
	if r.Code != Done || r.Version != 1 {
		s.t.Fatalf("create: %+v", r)
	}
	return r.Home.Home
}

// register is what a client knows of its session.
type register struct {
	id      string
	acked   uint64            // version
	newest  uint64            // that was tried
	bodies  map[uint64][]byte // tried, by version
	working bool
	acks    int
}

// open makes so many sessions, for clients to work on.
func (s *sim) open(count int) []*register {
	var registers []*register
	for n := range count {
		s.create(n)
		registers = append(registers, &register{id: id(n), acked: 1, newest: 1, bodies: map[uint64][]byte{1: []byte("new")}})
	}
	return registers
}

// work has each client without an operation begin one with a chance of one in so many, and
// lets time pass.
func (s *sim) work(registers []*register, oneIn int, d time.Duration) {
	for _, r := range registers {
		if !r.working && s.rng.IntN(oneIn) == 0 {
			s.client(r)
		}
	}
	s.run(d)
}

// client updates and reads one session through random nodes, one operation at a
// time, and checks every answer.
func (s *sim) client(r *register) {
	r.working = true
	op := Request{Op: Read, ID: r.id}
	if s.rng.IntN(3) > 0 {
		match := r.acked
		op = Request{Op: Update, ID: r.id, Match: &match, Body: fmt.Appendf(nil, "%s-%d-%d", r.id[24:], match+1, s.rng.IntN(1e6))}
		if b := r.bodies[match+1]; b != nil {
			op.Body = b // the one without an answer, again
		}
		r.bodies[match+1], r.newest = op.Body, max(r.newest, match+1)
	}
	node := s.names[s.rng.IntN(len(s.names))]
	life, invoked := s.nodes[node].life, r.acked
	finished := false
	done := func(res Result) {
		if finished {
			return
		}
		finished, r.working = true, false
		switch {
		case res.Code == Missing:
			s.t.Errorf("%s: session %s of version %d is gone", node, r.id, invoked)
		case res.Code == Conflict:
			s.t.Errorf("%s: session %s has version %d, acknowledged was %d", node, r.id, res.Version, invoked)
		case res.Code != Done:
		case res.Version < invoked:
			s.t.Errorf("%s: session %s went back from version %d to %d", node, r.id, invoked, res.Version)
		case op.Op == Read && !bytes.Equal(res.Body, r.bodies[res.Version]):
			s.t.Errorf("%s: session %s version %d holds %q, not %q", node, r.id, res.Version, res.Body, r.bodies[res.Version])
		default:
			r.acked = max(r.acked, res.Version)
			r.acks++
		}
	}
	s.do(node, op, done)
	s.after(OpTimeout+200*time.Millisecond, func() { // the node may be gone
		if s.nodes[node].life != life || !s.nodes[node].up {
			done(Result{Code: Busy})
		}
	})
}

// absent counts the nodes that are down or whose word does not count yet.
func (s *sim) absent() int {
	n := 0
	for _, x := range s.nodes {
		if !x.up || !x.Settled() {
			n++
		}
	}
	return n
}
