package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestAcknowledgedRecordsAreKept runs the checker over random schedules: seeds 0
// to 199, with MESH_TEST_LONG to 9999. MESH_SEED names another range (200-399) or
// one seed, whose events it prints.
func TestAcknowledgedRecordsAreKept(t *testing.T) {
	first, last := uint64(0), uint64(199)
	if os.Getenv("MESH_TEST_LONG") != "" {
		last = 9999
	}
	if v := os.Getenv("MESH_SEED"); v != "" {
		from, to, isRange := strings.Cut(v, "-")
		if !isRange {
			to = from
		}
		var errFrom, errTo error
		first, errFrom = strconv.ParseUint(from, 10, 64)
		last, errTo = strconv.ParseUint(to, 10, 64)
		if err := errors.Join(errFrom, errTo); err != nil || last < first {
			t.Fatalf("MESH_SEED=%s: want a number or a range such as 200-399: %v", v, err)
		}
	}
	if first == last {
		once, again := simulate(t, first), simulate(t, first)
		t.Logf("seed %d, trace %016x: %+v\n%s", first, once.hash, once.check.counts, strings.Join(once.events, "\n"))
		once.judge(t)
		once.replays(t, again)
		return
	}
	const share = 20
	var mu sync.Mutex
	var total counts
	t.Run("seeds", func(t *testing.T) {
		for from := first; from <= last; from += share {
			t.Run(fmt.Sprint(from), func(t *testing.T) {
				t.Parallel()
				for seed := from; seed < from+share && seed <= last; seed++ {
					s := simulate(t, seed)
					s.judge(t)
					if seed == from {
						s.replays(t, simulate(t, seed))
					}
					mu.Lock()
					total.add(&s.check.counts)
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("seeds %d to %d: %+v", first, last, total)
	for name, n := range total.byName() {
		if n == 0 {
			t.Errorf("no run had any %s: the schedules test nothing of it", name)
		}
	}
}

func (s *simulation) judge(t *testing.T) {
	t.Helper()
	if len(s.check.wrong) > 0 {
		t.Errorf("seed %d: %s\nevents of it: MESH_SEED=%d go test -run '^TestAcknowledgedRecordsAreKept$' -v ./meshnode/internal/store",
			s.seed, strings.Join(s.check.wrong, "\n"), s.seed)
	}
}

// replays says whether both runs of a seed did the same.
func (s *simulation) replays(t *testing.T, again *simulation) {
	t.Helper()
	if s.hash == again.hash {
		return
	}
	t.Errorf("seed %d does not replay: trace %016x, then %016x", s.seed, s.hash, again.hash)
	for i := range min(len(s.events), len(again.events)) {
		if s.events[i] != again.events[i] {
			t.Logf("after\n%s\nonce\n%s\nand once\n%s", strings.Join(s.events[max(0, i-10):i], "\n"), s.events[i], again.events[i])
			return
		}
	}
}

func (c *counts) byName() map[string]int64 {
	m := map[string]int64{}
	v := reflect.ValueOf(*c)
	for i := range v.NumField() {
		m[v.Type().Field(i).Name] = v.Field(i).Int()
	}
	return m
}

func (c *counts) add(o *counts) {
	longest := max(c.MaxStale, o.MaxStale)
	v, w := reflect.ValueOf(c).Elem(), reflect.ValueOf(*o)
	for i := range v.NumField() {
		v.Field(i).SetInt(v.Field(i).Int() + w.Field(i).Int())
	}
	c.MaxStale = longest
}

// simulate runs one seed and returns it when all is over.
func simulate(t *testing.T, seed uint64) (s *simulation) {
	t.Helper()
	dir := memoryDir(t)
	bubble.Test(t, func(t *testing.T) {
		s = newSimulation(seed, dir)
		s.play()
		s.settle()
		s.end()
	})
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
	return s
}

// memoryDir is a directory in memory if the system has one: what is durable is
// the simulation's business.
func memoryDir(t *testing.T) string {
	t.Helper()
	const memory = "/dev/shm"
	parent := ""
	if _, err := os.Stat(memory); err == nil && runtime.GOOS == "linux" {
		parent = memory
	}
	dir, err := os.MkdirTemp(parent, "mesh-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// play starts the nodes and makes things happen for some seconds.
func (s *simulation) play() {
	rng := s.source("schedule")
	s.mu.Lock()
	s.weather = newWeather(rng)
	for _, name := range s.names {
		if err := s.boot(s.nodes[name]); err != nil {
			s.check.fail("%v", err)
		}
	}
	s.mu.Unlock()
	until := time.Duration(1000+rng.IntN(4000)) * time.Millisecond
	for op := 0; time.Since(s.start) < until; op++ {
		s.sleep(time.Millisecond + time.Duration(rng.Int64N(int64(80*time.Millisecond))))
		node := s.names[rng.IntN(len(s.names))]
		switch n := rng.IntN(100); {
		case n < 65:
			s.wg.Go(func() { s.put(op, node) })
		case n < 92:
			s.list(node, 1+rng.IntN(20))
		default:
			s.fault(rng, node)
		}
	}
}

func newWeather(rng *rand.Rand) weather {
	if rng.IntN(6) == 0 { // nothing arrives, and no one notices
		return weather{loss: 1, jitter: time.Millisecond}
	}
	return weather{
		loss: rng.Float64() * 0.3, double: rng.Float64() * 0.2,
		jitter: time.Millisecond + time.Duration(rng.Int64N(int64(60*time.Millisecond))),
	}
}

func (s *simulation) fault(rng *rand.Rand, node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[node]
	up := n.run != nil && !n.run.dead
	switch rng.IntN(10) {
	case 0, 1: // a partition into two sides, sometimes of one node
		s.check.counts.Cuts++
		side := map[string]bool{node: true}
		for _, name := range s.names {
			side[name] = side[name] || rng.IntN(3) == 0
		}
		for pair, l := range s.links {
			l.cut = side[pair[0]] != side[pair[1]]
		}
		s.event("partition: %v apart", side)
		s.changed()
	case 2: // a link that carries one way only
		s.check.counts.Cuts++
		peer := s.names[rng.IntN(len(s.names))]
		s.links[[2]string{node, peer}].cut = true
		s.event("cut: %s > %s", node, peer)
		s.changed()
	case 3:
		for _, l := range s.links {
			l.cut = false
		}
		s.event("healed")
		s.changed()
	case 4:
		s.weather = newWeather(rng)
		s.event("weather %+v", s.weather)
	case 5:
		if up {
			s.crash(n.run, rng.IntN(3) == 0)
		}
	case 6:
		if up {
			n.run.armed = true
			s.event("%s will crash within its next write", node)
		}
	case 7: // wrongly taken for unreachable
		peer := s.names[rng.IntN(len(s.names))]
		if up && n.view[peer] {
			s.check.counts.FalseAlarms++
			n.view[peer] = false
			s.event("%s misses %s", node, peer)
			s.changed()
		}
	case 8:
		s.check.counts.ClockSteps++
		s.event("the clock of %s is set %v off", node, n.clock.Step(rng))
	case 9:
		s.check.counts.ClockDrifts++
		s.event("the clock of %s runs %v wrong", node, n.clock.Drift(rng))
	}
}

// end judges what the stores hold, and once more after a restart of them all.
func (s *simulation) end() {
	s.mu.Lock()
	var running []*process
	lists := map[string][]Record{}
	for _, name := range s.names {
		p := s.nodes[name].run
		if p == nil {
			s.check.fail("%s is not running at the end", name)
			continue
		}
		list, err := p.list(7)
		if err != nil || len(list) != p.store.Len() {
			s.check.fail("%s counts %d records and lists %d, %v", name, p.store.Len(), len(list), err)
		}
		lists[name] = list
		running = append(running, p)
	}
	s.check.final(lists)
	s.event("end: %d records", len(lists[s.names[0]]))
	s.mu.Unlock()
	for _, p := range running {
		before := p.store.Vector()
		p.end()
		st, err := openWith(dirOf(p), p.node.name, stamp(p.node.name), time.Now, strings.NewReader("12345678"), simulated)
		if err != nil {
			s.check.fail("%s does not start again: %v", p.node.name, err)
			continue
		}
		again := &process{node: p.node, store: st}
		list, err := again.list(100)
		if err != nil || !reflect.DeepEqual(list, lists[p.node.name]) || !maps.EqualFunc(st.Vector(), before, func(a, b Extent) bool { return reflect.DeepEqual(a, b) }) {
			s.check.fail("%s holds something else after a restart: %v", p.node.name, err)
		}
		if err := st.Close(); err != nil {
			s.check.fail("%v", err)
		}
	}
}
