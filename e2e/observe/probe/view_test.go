package probe

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/observe/probe/echo"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

// world is a View with a clock and probers that number their lines.
type world struct {
	*View
	clock time.Time
	seq   map[string]uint64
}

func newWorld(pods ...string) *world {
	w := &world{View: NewView(pods), clock: epoch, seq: map[string]uint64{}}
	w.now = func() time.Time { return w.clock }
	return w
}

func (w *world) say(pod string, l echo.Line) echo.Line {
	w.seq[pod]++
	l.Pod, l.Seq = pod, w.seq[pod]
	w.Apply(l)
	return l
}

// change lets both ends of a pair see a change.
func (w *world) change(a, b string, up bool, ms int) {
	w.say(a, echo.Line{Kind: echo.Change, Peer: b, Up: up, At: at(ms)})
	w.say(b, echo.Line{Kind: echo.Change, Peer: a, Up: up, At: at(ms)})
}

func mesh() *world {
	w := newWorld("a", "b", "c")
	w.change("a", "b", true, 0)
	w.change("a", "c", true, 0)
	w.change("b", "c", true, 0)
	return w
}

var (
	all = All([]string{"c", "b", "a"})
	cut = Between([]string{"a", "b", "c"}, []string{"c"})
)

func TestPairs(t *testing.T) {
	if len(all) != 3 || all[0] != (Pair{"a", "b"}) || all[2] != (Pair{"b", "c"}) {
		t.Fatalf("all: %v", all)
	}
	if len(cut) != 2 || cut[0] != (Pair{"a", "c"}) || cut[1] != (Pair{"b", "c"}) {
		t.Fatalf("cut: %v", cut)
	}
	if rest := Without(all, cut); len(rest) != 1 || rest[0] != (Pair{"a", "b"}) {
		t.Fatalf("rest: %v", rest)
	}
	if peers := PeersOf("c", cut); strings.Join(peers, " ") != "a b" {
		t.Fatalf("peers of c: %v", peers)
	}
}

func TestProof(t *testing.T) {
	open := Without(all, cut)
	cases := map[string]struct {
		do   func(*world)
		want string // empty: proven
	}{
		"the cut":               {do: func(w *world) { w.change("a", "c", false, 10); w.change("b", "c", false, 20) }},
		"no fault at all":       {do: func(*world) {}, want: "a→c, c→a, b→c, c→b"},
		"one pair is missing":   {do: func(w *world) { w.change("a", "c", false, 10) }, want: "should be cut but are not: b→c, c→b"},
		"the wrong pair is cut": {do: func(w *world) { w.change("a", "b", false, 10) }, want: "should be open but are not: a→b, b→a"},
		"healed again": {do: func(w *world) {
			w.change("a", "c", false, 10)
			w.change("b", "c", false, 20)
			w.change("b", "c", true, 30)
		}, want: "b→c"},
		"only one end sees it":   {do: func(w *world) { w.change("b", "c", false, 20); w.say("a", echo.Line{Kind: echo.Change, Peer: "c"}) }, want: "should be cut but are not: c→a"},
		"the probers are silent": {do: func(w *world) { w.clock = at(60_000) }, want: "has said nothing"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := mesh()
			if err := w.Proof(nil, all); err != nil {
				t.Fatalf("before the fault: %v", err)
			}
			c.do(w)
			err := w.Proof(cut, open)
			if c.want == "" && err != nil {
				t.Fatal(err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestNothingIsKnownAtFirst(t *testing.T) {
	w := newWorld("a", "b")
	w.say("a", echo.Line{Kind: echo.Start})
	w.say("b", echo.Line{Kind: echo.Start})
	pairs := All([]string{"a", "b"})
	if w.Proof(nil, pairs) == nil {
		t.Error("open without an answer")
	}
	if w.Proof(pairs, nil) == nil {
		t.Error("cut without a look")
	}
}

func TestTimes(t *testing.T) {
	w := mesh()
	if _, err := w.Losses("c", []string{"a", "b"}); err == nil {
		t.Fatal("a cut before there is one")
	}
	w.change("b", "c", false, 5) // a blip before the fault
	w.change("b", "c", true, 7)
	w.change("a", "c", false, 20)
	w.change("b", "c", false, 10)
	times, err := w.Losses("c", []string{"a", "b"})
	if err != nil || len(times) != 2 || !times[0].Equal(at(10)) || !times[1].Equal(at(20)) {
		t.Fatalf("lost at %v, %v", times, err)
	}
	for _, c := range []struct {
		peer     string
		by, lost int
	}{{"b", 6, 5}, {"b", 8, 0}, {"b", 10, 10}, {"b", 200, 10}, {"a", 19, 0}, {"a", 20, 20}, {"x", 200, 0}} {
		lost, err := w.LostAt("c", c.peer, at(c.by))
		if (err != nil) != (c.lost == 0) || err == nil && !lost.Equal(at(c.lost)) {
			t.Errorf("%s lost by %d: at %v, %v, want %d", c.peer, c.by, lost, err, c.lost)
		}
	}
	if _, err := w.Healed("c", "b", at(10)); err == nil {
		t.Fatal("a heal before there is one")
	}
	w.change("b", "c", true, 100)
	w.change("b", "c", false, 110)
	w.change("b", "c", true, 120)
	// The first one counts: a later flap must not make the heal look later.
	if healed, err := w.Healed("c", "b", at(10)); err != nil || !healed.Equal(at(100)) {
		t.Fatalf("healed at %v, %v", healed, err)
	}
}

func TestALogReadTwiceChangesNothing(t *testing.T) {
	w := newWorld("a")
	l := w.say("a", echo.Line{Kind: echo.Change, Peer: "b", Up: true, At: at(1)})
	w.say("a", echo.Line{Kind: echo.Change, Peer: "b", Up: false, At: at(2)})
	w.Apply(l)
	times, err := w.Losses("a", []string{"b"})
	if n := len(w.pods["a"].peers["b"].changes); err != nil || n != 2 || !times[0].Equal(at(2)) {
		t.Fatalf("%d changes, %v, %v", n, times, err)
	}
}

func TestRoundTrips(t *testing.T) {
	w := mesh()
	ab := []Pair{{"a", "b"}}
	state := func(pod, peer string, rtt time.Duration) {
		w.say(pod, echo.Line{Kind: echo.State, Peers: []echo.PeerState{{Peer: peer, Up: true, RTT: rtt}}})
	}
	if err := w.RoundTrips(ab, 0, time.Second); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("before any: %v", err)
	}
	state("a", "b", 200*time.Millisecond)
	state("b", "a", 20*time.Millisecond)
	if err := w.RoundTrips(ab, 150*time.Millisecond, time.Second); err == nil || !strings.Contains(err.Error(), "b→a 20ms") {
		t.Errorf("one end is not slow: %v", err)
	}
	state("b", "a", 210*time.Millisecond)
	if err := w.RoundTrips(ab, 150*time.Millisecond, time.Second); err != nil {
		t.Error(err)
	}
	if err := w.RoundTrips(ab, 0, 100*time.Millisecond); err == nil {
		t.Error("slow round trips pass for fast ones")
	}
	w.clock = at(60_000)
	if err := w.RoundTrips(ab, 0, time.Second); err == nil {
		t.Error("silent probers prove something")
	}
}

func TestLost(t *testing.T) {
	w := mesh()
	w.change("a", "c", false, 5) // a blip before
	w.change("a", "c", true, 7)
	if _, err := w.Lost("c", []string{"a", "b"}, at(7)); err == nil {
		t.Error("lost before it was")
	}
	w.change("b", "c", false, 20)
	w.change("a", "c", false, 15)
	if got, err := w.Lost("c", []string{"a", "b"}, at(7)); err != nil || !got.Equal(at(15)) {
		t.Errorf("lost at %v, %v", got, err)
	}
}

// A way is cut or open by what gets through it, whether answers get back or not.
func TestWays(t *testing.T) {
	hears := func(w *world, to string, from ...string) {
		var peers []echo.PeerState
		for _, f := range []string{"a", "b", "c"} {
			switch {
			case f == to:
			case slices.Contains(from, f):
				peers = append(peers, echo.PeerState{Peer: f, Heard: at(900)})
			default: // before the cut
				peers = append(peers, echo.PeerState{Peer: f, Heard: at(900).Add(-echo.Silence)})
			}
		}
		w.say(to, echo.Line{Kind: echo.State, Time: at(900), Peers: peers})
	}
	for name, c := range map[string]struct {
		cut     []Way
		a, b, c string // whom each hears
		want    string // empty: as it should be
	}{
		"no cut":                              {nil, "b c", "a c", "a b", ""},
		"one way":                             {[]Way{{"a", "b"}}, "b c", "c", "a b", ""},
		"both ways":                           {[]Way{{"a", "b"}, {"b", "a"}}, "c", "c", "a b", ""},
		"the other way is cut":                {[]Way{{"a", "b"}}, "c", "a c", "a b", "b→a should be open and is not, a→b should be cut and is not"},
		"both ways are cut instead of one":    {[]Way{{"a", "b"}}, "c", "c", "a b", "b→a should be open and is not"},
		"one way is cut instead of both":      {[]Way{{"a", "b"}, {"b", "a"}}, "b c", "c", "a b", "b→a should be cut and is not"},
		"nothing is cut":                      {[]Way{{"a", "b"}}, "b c", "a c", "a b", "a→b should be cut and is not"},
		"a way is cut that should be open":    {nil, "b c", "a c", "b", "a→c should be open and is not"},
		"a third is cut beside the right one": {[]Way{{"a", "b"}}, "b c", "c", "a", "b→c should be open and is not"},
	} {
		w := newWorld("a", "b", "c")
		hears(w, "a", strings.Fields(c.a)...)
		hears(w, "b", strings.Fields(c.b)...)
		hears(w, "c", strings.Fields(c.c)...)
		err := w.Ways(c.cut)
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestWaysNeedSight(t *testing.T) {
	w := newWorld("a", "b")
	for _, pod := range []string{"a", "b"} {
		w.say(pod, echo.Line{Kind: echo.Start})
	}
	if err := w.Ways(nil); err == nil || !strings.Contains(err.Error(), "a→b should be open") {
		t.Errorf("open, and nothing was heard: %v", err)
	}
	// A peer that was never heard is cut, as far as can be told.
	w.say("b", echo.Line{Kind: echo.State, Time: at(900), Peers: []echo.PeerState{{Peer: "a"}}})
	w.say("a", echo.Line{Kind: echo.State, Time: at(900), Peers: []echo.PeerState{{Peer: "b", Heard: at(850)}}})
	if err := w.Ways([]Way{{"a", "b"}}); err != nil {
		t.Errorf("never heard: %v", err)
	}
	w.clock = at(60_000)
	if err := w.Ways([]Way{{"a", "b"}}); err == nil || !strings.Contains(err.Error(), "has said nothing") {
		t.Errorf("silent probers: %v", err)
	}
}

func TestPairsOfWays(t *testing.T) {
	pairs := Pairs([]Way{{"b", "a"}, {"a", "b"}, {"c", "a"}})
	if len(pairs) != 2 || pairs[0] != (Pair{"a", "b"}) || pairs[1] != (Pair{"a", "c"}) {
		t.Errorf("got %v", pairs)
	}
}
