package home

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
)

var five = []string{"a", "b", "c", "d", "e"}

// mesh is five nodes that know each other and hold no session.
func mesh(t *testing.T, heals bool) *sim {
	s := newSim(t, 1, heals, five...)
	s.run(2 * time.Second)
	for _, n := range five {
		if !s.nodes[n].Settled() {
			t.Fatalf("%s is not settled", n)
		}
	}
	return s
}

// isolate cuts a node from all others.
func (s *sim) isolate(name string) {
	for _, n := range s.names {
		if n != name {
			s.cut[[2]string{name, n}] = true
		}
	}
	s.look()
}

func (s *sim) heal() {
	clear(s.cut)
	s.look()
}

func version(v uint64) *uint64 { return &v }

func TestRankIsSpreadAndStable(t *testing.T) {
	first, moved := map[string]int{}, 0
	for n := range 5000 {
		r := Rank(id(n), five)
		first[r[0]]++
		// Without its home a session goes to the second, and no other moves.
		without := Rank(id(n), slices.DeleteFunc(slices.Clone(five), func(x string) bool { return x == "c" }))
		if r[0] == "c" && without[0] != r[1] || r[0] != "c" && without[0] != r[0] {
			moved++
		}
	}
	for _, n := range five {
		if first[n] < 850 || first[n] > 1150 {
			t.Errorf("%s is first for %d of 5000", n, first[n])
		}
	}
	if moved > 0 {
		t.Errorf("%d sessions moved without need", moved)
	}
}

func TestOperations(t *testing.T) {
	s := mesh(t, true)
	home := s.create(0)
	if want := Rank(id(0), five)[0]; home != want {
		t.Errorf("home %s, want %s", home, want)
	}
	for i, c := range []struct {
		r       Request
		code    Code
		version uint64
		body    string
	}{
		{Request{Op: Read, ID: id(0)}, Done, 1, "new"},
		{Request{Op: Update, ID: id(0), Match: version(1), Body: []byte("x")}, Done, 2, ""},
		{Request{Op: Update, ID: id(0), Match: version(1), Body: []byte("x")}, Done, 2, ""}, // again: no further effect
		{Request{Op: Update, ID: id(0), Match: version(1), Body: []byte("y")}, Conflict, 2, ""},
		{Request{Op: Update, ID: id(0), Match: version(3), Body: []byte("y")}, Conflict, 2, ""},
		{Request{Op: Update, ID: id(0), Body: []byte("z")}, Done, 3, ""},
		{Request{Op: Read, ID: id(0)}, Done, 3, "z"},
		{Request{Op: Read, ID: id(99)}, Missing, 0, ""},
		{Request{Op: Update, ID: id(99), Body: []byte("z")}, Missing, 0, ""},
	} {
		for _, node := range []string{home, five[i%5]} {
			got := s.must(node, c.r, time.Second)
			if c.r.Op == Update && c.r.Match == nil && node != home {
				continue // each has an effect
			}
			if got.Code != c.code || got.Version != c.version || string(got.Body) != c.body {
				t.Errorf("%d at %s: %+v", i, node, got)
			}
			if c.r.Op == Update && c.r.Match == nil {
				break
			}
		}
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	s := mesh(t, true)
	s.create(0)
	s.create(1)
	for range 3 {
		s.run(6 * time.Minute)
		if r := s.must("c", Request{Op: Read, ID: id(0)}, time.Second); r.Code != Done {
			t.Fatalf("a session in use: %+v", r)
		}
	}
	if r := s.must("c", Request{Op: Read, ID: id(1)}, time.Second); r.Code != Missing {
		t.Errorf("a session without use: %+v", r)
	}
	for _, n := range five {
		if got := len(s.nodes[n].entries); got != 1 {
			t.Errorf("%s holds %d sessions", n, got)
		}
	}
}

func TestBounds(t *testing.T) {
	s := mesh(t, true)
	for _, n := range five {
		s.nodes[n].limits.Sessions, s.nodes[n].limits.Pending = 10, 3
	}
	full := 0
	for n := range 30 {
		s.do("a", Request{Op: Create, ID: id(n)}, func(r Result) {
			if r.Code == Busy && strings.Contains(r.Reason, "takes no more") {
				full++
			}
		})
		s.run(100 * time.Millisecond)
	}
	for _, n := range five {
		if got := len(s.nodes[n].entries); got > 20 {
			t.Errorf("%s holds %d sessions", n, got)
		}
	}
	if full < 15 {
		t.Errorf("%d of 30 refused", full)
	}
	s.isolate("a") // nothing is answered until the node knows
	busy := 0
	for n := range 10 {
		s.do("a", Request{Op: Read, ID: id(n)}, func(r Result) {
			if strings.Contains(r.Reason, "under way") {
				busy++
			}
		})
	}
	s.run(time.Millisecond)
	if busy == 0 || len(s.nodes["a"].ops) > 3 {
		t.Errorf("%d refused, %d under way", busy, len(s.nodes["a"].ops))
	}
}

func TestMinorityNeitherServesNorClaims(t *testing.T) {
	s := mesh(t, true)
	for n := range 20 {
		s.create(n)
	}
	s.isolate("a")
	s.isolate("b")
	s.run(4 * time.Second)
	for n := range 20 {
		if r := s.must("a", Request{Op: Update, ID: id(n), Body: []byte("a")}, time.Second); r.Code != Busy {
			t.Errorf("the minority: %+v", r)
		}
		if r := s.must("c", Request{Op: Update, ID: id(n), Body: []byte("c")}, time.Second); r.Code != Done || r.Home.Home < "c" {
			t.Errorf("the majority: %+v", r)
		}
	}
	if _, err := s.nodes["a"].Migrate(s.now, "c"); !errors.Is(err, ErrMinority) {
		t.Errorf("migrate: %v", err)
	}
	before := s.nodes["c"].Homes()
	s.heal()
	s.run(3 * time.Second)
	for n := range 20 {
		if r := s.must("a", Request{Op: Read, ID: id(n)}, time.Second); r.Code != Done || string(r.Body) != "c" {
			t.Errorf("after the heal: %+v", r)
		}
	}
	for _, n := range five {
		if got := s.nodes[n].Homes(); fmt.Sprint(got) != fmt.Sprint(before) {
			t.Errorf("%s: homes %v, before the heal %v", n, got, before)
		}
	}
}

// An operation outlives the home of its session: the next home answers it.
func TestOperationWaitsForTheNextHome(t *testing.T) {
	s := mesh(t, true)
	n := homedAt("c")
	s.create(n)
	s.crash("c")
	var got []Result
	s.do("a", Request{Op: Update, ID: id(n), Body: []byte("x")}, func(r Result) { got = append(got, r) })
	s.run(OpTimeout)
	if len(got) != 1 || got[0].Code != Done || got[0].Home.Home == "c" || got[0].Version != 2 {
		t.Errorf("%+v", got)
	}
}

// What is not answered is sent again ever more seldom, and not before an answer can have come.
func TestRepetitionsBackOff(t *testing.T) {
	for answer, want := range map[time.Duration][]time.Duration{
		0:                      {resend, 2 * resend, resendMax, resendMax},
		80 * time.Millisecond:  {resend, 2 * resend, resendMax, resendMax},
		160 * time.Millisecond: {200 * time.Millisecond, resendMax, resendMax, resendMax},
		440 * time.Millisecond: {550 * time.Millisecond, 550 * time.Millisecond, 550 * time.Millisecond, 550 * time.Millisecond},
		time.Hour:              {resendFar, resendFar, resendFar, resendFar}, // whatever a peer's echoes say
	} {
		now := time.Unix(0, 0)
		var a asked
		var waits []time.Duration
		for range 4 {
			a = a.again(now, patience(answer))
			if a.due(now.Add(a.wait-1)) || !a.due(now.Add(a.wait)) {
				t.Errorf("due at another time than after %v", a.wait)
			}
			waits = append(waits, a.wait)
		}
		if !slices.Equal(waits, want) {
			t.Errorf("an answer within %v: %v, want %v", answer, waits, want)
		}
	}
}

// TestFarPeersAreAskedOnce: while a peer's answer is still on its way nothing is sent to it again.
func TestFarPeersAreAskedOnce(t *testing.T) {
	s := mesh(t, true)
	n := s.nodes["a"]
	far := n.view
	far.RTT = map[string]time.Duration{}
	for _, p := range far.Members {
		far.RTT[p] = 400 * time.Millisecond
	}
	n.SetView(s.now, far)
	_, out := n.Do(s.now, Request{Op: Create, ID: id(homedAt("a"))})
	if len(out.Send) != 4 {
		t.Fatalf("%d proposals", len(out.Send))
	}
	for after := Tick; after <= 600*time.Millisecond; after += Tick {
		want := 0
		if after == 500*time.Millisecond {
			want = 4
		}
		if sent := len(n.Tick(s.now.Add(after)).Send); sent != want {
			t.Errorf("after %v: %d messages, want %d", after, sent, want)
		}
	}
}

// homedAt returns the number of a session that a node of five is the best home for.
func homedAt(name string) (n int) {
	for Rank(id(n), five)[0] != name {
		n++
	}
	return n
}

// TestNodeWithoutMemoryDoesNotVote: an update is held by a, b and c; b loses its
// memory and a dies. With d and e, which never heard of the update, b would be a
// majority that has forgotten it.
func TestNodeWithoutMemoryDoesNotVote(t *testing.T) {
	s := mesh(t, true)
	n := homedAt("a")
	s.create(n)
	for _, x := range []string{"d", "e"} {
		for _, y := range []string{"a", "b", "c"} {
			s.cut[[2]string{x, y}] = true
		}
	}
	if r := s.must("a", Request{Op: Update, ID: id(n), Body: []byte("kept")}, time.Second); r.Code != Done || r.Version != 2 {
		t.Fatalf("%+v", r)
	}
	clear(s.cut)
	for _, x := range []string{"b", "d", "e"} { // c is out of reach for now
		s.cut[[2]string{"c", x}] = true
	}
	s.crash("a")
	s.crash("b")
	s.start("b")
	s.run(5 * time.Second)
	if s.nodes["b"].Settled() {
		t.Error("b takes part, and nobody could tell it of the update")
	}
	if r := s.must("d", Request{Op: Read, ID: id(n)}, time.Second); r.Code != Busy {
		t.Errorf("a majority without memory answers: %+v", r)
	}
	s.heal()
	s.run(3 * time.Second)
	if r := s.must("d", Request{Op: Read, ID: id(n)}, 2*time.Second); r.Code != Done || string(r.Body) != "kept" {
		t.Errorf("with c: %+v", r)
	}
}

func TestColdStartOfAMajority(t *testing.T) {
	s := newSim(t, 1, true, five...)
	s.crash("d")
	s.crash("e") // they were never there
	s.run(3 * time.Second)
	if r := s.must("a", Request{Op: Create, ID: id(0)}, 2*time.Second); r.Code != Done {
		t.Errorf("%+v", r)
	}
	s = newSim(t, 1, true, "alone")
	s.nodes["alone"].SetView(s.now, View{Known: true})
	if s.run(time.Second); s.nodes["alone"].Settled() {
		t.Error("alone after a second: the others may only be late")
	}
	s.run(aloneAfter)
	if r := s.must("alone", Request{Op: Create, ID: id(0)}, time.Second); r.Code != Done {
		t.Errorf("%+v", r)
	}
}

// TestCandidateThatDoesNotKnowTheSession: another one claims it after a while.
func TestCandidateThatDoesNotKnowTheSession(t *testing.T) {
	s := mesh(t, true)
	n := homedAt("a")
	next := Rank(id(n), five)[1]
	s.cut[[2]string{"a", next}] = true
	s.create(n)
	s.crash("a")
	s.run(3 * time.Second)
	if r := s.must(next, Request{Op: Read, ID: id(n)}, 300*time.Millisecond); r.Code != Done || r.Home.Home == "a" {
		t.Errorf("%+v", r)
	}
}

func TestMalformedMessages(t *testing.T) {
	s := mesh(t, true)
	s.create(0)
	a := s.nodes["a"]
	state := &snapshot{ID: id(0), Promised: Ballot{9, "b"}, Version: 9}
	for name, m := range map[string]*message{
		"no kind":                     {},
		"unknown kind":                {Kind: 99},
		"proposal without state":      {Kind: propose, ID: id(0), Ballot: Ballot{9, "b"}},
		"proposal for another node":   {Kind: propose, ID: id(0), Ballot: Ballot{9, "c"}, Copy: state},
		"claim for another node":      {Kind: prepare, ID: id(0), Ballot: Ballot{9, "c"}},
		"bad id":                      {Kind: prepare, ID: "x", Ballot: Ballot{9, "b"}},
		"copy of something else":      {Kind: propose, ID: id(1), Ballot: Ballot{9, "b"}, Copy: state},
		"body too long":               {Kind: propose, ID: id(0), Ballot: Ballot{9, "b"}, Copy: &snapshot{ID: id(0), Promised: Ballot{9, "b"}, Version: 9, Body: make([]byte, MaxBody+1)}},
		"request with a long body":    {Kind: request, ID: id(0), Op: Update, Body: make([]byte, MaxBody+1)},
		"age that cannot be":          {Kind: copies, Copies: []snapshot{{ID: id(0), Age: -1}}},
		"response without answer":     {Kind: response},
		"promise against itself":      {Kind: promise, ID: id(0), Highest: Ballot{8, "b"}, Copy: state},
		"version that cannot be":      {Kind: copies, Copies: []snapshot{{ID: id(0), Version: maxVersion + 1}}},
		"promise of no state":         {Kind: promise, ID: id(0), Highest: Ballot{9, "b"}, Copy: &snapshot{ID: id(0), Promised: Ballot{9, "b"}}},
		"accepted more than promised": {Kind: copies, Copies: []snapshot{{ID: id(0), Accepted: Ballot{1, "b"}}}},
		"hand-over of bad ids":        {Kind: handover, Home: "a", IDs: []string{id(0), "y"}},
		"hand-over from nobody":       {Kind: handover, IDs: []string{id(0)}},
	} {
		before := *a.entries[id(0)]
		if _, err := a.Receive(s.now, "b", m.encode()); err == nil {
			t.Errorf("%s: no error", name)
		}
		if after := *a.entries[id(0)]; after.promised != before.promised || after.version != before.version {
			t.Errorf("%s: changed the session", name)
		}
	}
	if _, err := a.Receive(s.now, "b", []byte("{")); err == nil {
		t.Error("no JSON: no error")
	}
}

func FuzzReceive(f *testing.F) {
	for _, m := range []*message{
		{Kind: propose, ID: id(0), Ballot: Ballot{2, "b"}, Copy: &snapshot{ID: id(0), Version: 2, Body: []byte("x")}},
		{Kind: prepare, ID: id(0), Ballot: Ballot{2, "b"}}, {Kind: promise, ID: id(0), Highest: Ballot{2, "b"}}, {Kind: accepted, ID: id(0), Ballot: Ballot{1, "a"}, Round: 7},
		{Kind: page}, {Kind: copies, Copies: []snapshot{{ID: id(1), Version: 1}}}, {Kind: request, ID: id(0), Op: Update, Match: version(1)},
		{Kind: response, Ticket: 1, Answer: &answer{Code: Moved}}, {Kind: handover, Home: "b", IDs: []string{id(0)}},
	} {
		for _, b := range hostile.Corpus(m.encode()) {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		now := time.Unix(1e9, 0)
		a := New(now, "a", Limits{})
		a.SetView(now, View{Known: true, Members: []string{"b", "c"}, Live: []string{"b", "c"}})
		a.settled = true
		a.Do(now, Request{Op: Create, ID: id(0)})
		a.Do(now, Request{Op: Read, ID: id(1)})
		for range 2 {
			out, err := a.Receive(now, "b", b)
			if err != nil && len(out.Send) > 0 {
				t.Error("an answer to a malformed message")
			}
			for _, m := range out.Send {
				if _, err := decode(m.Payload); err != nil {
					t.Errorf("sends what nobody takes: %v", err)
				}
			}
		}
		a.Tick(now.Add(time.Second))
		if a.claims < 0 || len(a.entries) > 2+1+handBatch {
			t.Errorf("%d claims, %d entries", a.claims, len(a.entries))
		}
	})
}

// TestOneNoticesALostHome: it tells the best candidates, who claim although they
// have not missed the home yet.
func TestOneNoticesALostHome(t *testing.T) {
	s := mesh(t, false)
	n := homedAt("a")
	s.create(n)
	order := Rank(id(n), five)
	s.nodes["a"].up = false // and nobody is told
	out, err := s.nodes[order[4]].Migrate(s.now, "a")
	if err != nil {
		t.Fatal(err)
	}
	s.out(order[4], out)
	if r := s.must(order[2], Request{Op: Read, ID: id(n)}, 150*time.Millisecond); r.Code != Done || r.Home.Home != order[1] {
		t.Errorf("%+v, want it at %s", r, order[1])
	}
}

// TestNodeThatCameBackAtOnce: others take its sessions before it does, though only
// one of them has noticed, and it cannot tell the best candidate.
func TestNodeThatCameBackAtOnce(t *testing.T) {
	s := mesh(t, false)
	n := homedAt("a")
	s.create(n)
	best, third := Rank(id(n), five)[1], Rank(id(n), five)[2]
	s.cut[[2]string{best, third}] = true
	s.crash("a")
	s.run(100 * time.Millisecond)
	s.start("a")
	for i := 0; !s.nodes["a"].Settled(); i++ {
		if s.run(10 * time.Millisecond); i > 1000 {
			t.Fatal("a does not settle")
		}
	}
	out, err := s.nodes[third].Migrate(s.now, "a")
	if err != nil {
		t.Fatal(err)
	}
	s.out(third, out)
	s.run(homecoming)
	if r := s.must("a", Request{Op: Read, ID: id(n)}, time.Second); r.Code != Done || r.Home.Home != third {
		t.Errorf("%+v, want it at %s", r, third)
	}
}

// TestNodeThatCameBackAlone: nobody else wants its sessions, so it takes them up.
func TestNodeThatCameBackAlone(t *testing.T) {
	s := mesh(t, false)
	n := homedAt("a")
	s.create(n)
	s.crash("a")
	s.run(100 * time.Millisecond)
	s.start("a")
	s.run(homecoming + time.Second)
	if r := s.must("b", Request{Op: Read, ID: id(n)}, time.Second); r.Code != Done || r.Home.Home != "a" {
		t.Errorf("%+v", r)
	}
}

// TestYield: a home that yields loses its sessions to others, new ones too, until it
// stops; and where all yield nothing moves, but what a lost home held.
func TestYield(t *testing.T) {
	s := mesh(t, true)
	for n := range 100 {
		s.create(n)
	}
	yield := func(on bool, names ...string) {
		for _, n := range names {
			s.out(n, s.nodes[n].Yield(s.now, on))
		}
	}
	held := s.nodes["b"].Homes()
	yield(true, "a")
	s.run(time.Second)
	if now := s.nodes["b"].Homes(); held["a"] == 0 || now["a"] > 0 || now["b"] < held["b"] || len(now) != 4 {
		t.Fatalf("a yields: homes %v, before %v", now, held)
	}
	for n := 100; n < 120; n++ {
		s.create(n)
	}
	s.run(time.Second)
	if n := s.nodes["b"].Homed("a"); n > 0 {
		t.Errorf("a yields, and %d new sessions stay there", n)
	}
	yield(false, "a")
	kept := 0
	for n := 120; n < 160; n++ {
		if s.create(n) == "a" {
			kept++
		}
	}
	s.run(time.Second)
	if n := s.nodes["b"].Homed("a"); kept == 0 || n != kept {
		t.Errorf("a yields no more: %d sessions there of %d", n, kept)
	}

	yield(true, five...)
	held = s.nodes["b"].Homes()
	s.run(5 * time.Second)
	if now := s.nodes["b"].Homes(); !maps.Equal(now, held) {
		t.Errorf("all yield: homes %v, before %v", now, held)
	}
	s.crash("c")
	s.run(5 * time.Second)
	if now := s.nodes["b"].Homes(); now["c"] > 0 {
		t.Errorf("all yield: %d sessions stay at a lost home", now["c"])
	}
	for n := range 160 {
		if r := s.must("b", Request{Op: Read, ID: id(n)}, 2*time.Second); r.Code != Done {
			t.Errorf("session %d: %+v", n, r)
		}
	}
}

// lead5 is a home a of a session that the other four hold, with round trips to them.
func lead5(t *testing.T, rtt time.Duration) (s *sim, home *simNode, sid string) {
	t.Helper()
	s = mesh(t, true)
	n := homedAt("a")
	s.create(n)
	home, sid = s.nodes["a"], id(n)
	v := home.view
	v.RTT = map[string]time.Duration{}
	for _, p := range v.Members {
		v.RTT[p] = rtt
	}
	home.SetView(s.now, v)
	return s, home, sid
}

// take lets a node receive a message.
func take(t *testing.T, n *simNode, now time.Time, from string, payload []byte) Output {
	t.Helper()
	out, err := n.Receive(now, from, payload)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// acks are what peers answer to proposals.
func acks(t *testing.T, sent []Outgoing) (answers []*message, from []string) {
	t.Helper()
	for _, o := range sent {
		m, err := decode(o.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == propose {
			answers = append(answers, &message{Kind: accepted, ID: m.ID, Ballot: m.Ballot, Round: m.Round, Highest: m.Ballot})
			from = append(from, o.To)
		}
	}
	return answers, from
}

// TestARepeatedRequestIsAnsweredAgain: a request that comes once more after its answer left is answered from memory: peers are not
// asked again, and what was read then is the answer. Later it is an operation like any other.
func TestARepeatedRequestIsAnsweredAgain(t *testing.T) {
	s, home, id := lead5(t, 400*time.Millisecond)
	ask := (&message{Kind: request, ID: id, Ticket: 7, Op: Read}).encode()
	answers, from := acks(t, take(t, home, s.now, "b", ask).Send)
	var said []Outgoing
	for i, a := range answers {
		said = append(said, take(t, home, s.now.Add(time.Millisecond), from[i], a.encode()).Send...)
	}
	if len(answers) != 4 || len(said) != 1 || said[0].To != "b" {
		t.Fatalf("answered %v", said)
	}
	again := take(t, home, s.now.Add(OpTimeout/2), "b", ask).Send
	if len(again) != 1 || again[0].To != "b" || string(again[0].Payload) != string(said[0].Payload) {
		t.Errorf("asked again it says %v, want %v", again, said)
	}
	if other := take(t, home, s.now.Add(OpTimeout/2), "c", ask).Send; len(other) != 4 {
		t.Errorf("another node's request of that number: %d messages", len(other))
	}
	if late, _ := acks(t, take(t, home, s.now.Add(4*OpTimeout), "b", ask).Send); len(late) == 0 {
		t.Error("remembered for ever")
	}
}

// TestARequestToAFarHome: the home asks others, so an answer takes two round trips. It is sent again when that should have come, and
// so early that the second answer comes in time.
func TestARequestToAFarHome(t *testing.T) {
	for rtt, again := range map[time.Duration]time.Duration{
		0:                      resend,
		200 * time.Millisecond: 500 * time.Millisecond,
		350 * time.Millisecond: 900 * time.Millisecond, // 875 ms, at the next tick
		500 * time.Millisecond: 750 * time.Millisecond,
		time.Hour:              resendFar, // whatever a peer's echoes say
	} {
		s, _, id := lead5(t, 0)
		b := s.nodes["b"]
		v := b.view
		v.RTT = map[string]time.Duration{"a": rtt}
		b.SetView(s.now, v)
		_, out := b.Do(s.now, Request{Op: Read, ID: id})
		if len(out.Send) != 1 || out.Send[0].To != "a" {
			t.Fatalf("sent %v", out.Send)
		}
		var at time.Duration
		for after := Tick; after < OpTimeout && at == 0; after += Tick {
			if len(b.Tick(s.now.Add(after)).Send) > 0 {
				at = after
			}
		}
		if at != again {
			t.Errorf("over %v it is sent again after %v, want %v", rtt, at, again)
		}
	}
}

// TestWhoIsAboutToBeHomeIsAskedAgainSoon: an answer that says so is no reason to wait as long as for a lost one.
func TestWhoIsAboutToBeHomeIsAskedAgainSoon(t *testing.T) {
	s, _, id := lead5(t, 0)
	b := s.nodes["b"]
	v := b.view
	v.RTT = map[string]time.Duration{"a": 400 * time.Millisecond}
	b.SetView(s.now, v)
	ticket, _ := b.Do(s.now, Request{Op: Read, ID: id})
	moved := &message{Kind: response, Ticket: ticket, Answer: &answer{Code: Moved, Ballot: b.entries[id].promised}}
	take(t, b, s.now.Add(time.Millisecond), "a", moved.encode())
	if sent := b.Tick(s.now.Add(resend + Tick)).Send; len(sent) != 1 || sent[0].To != "a" {
		t.Errorf("sent %v", sent)
	}
}
