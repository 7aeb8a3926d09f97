package echo

import (
	"testing"
	"time"
)

// step is one input to a tracker, at a time in milliseconds.
type step struct {
	ms   int
	do   string // request, reply (to the request of time of), check
	of   int
	want string // "", up@ms, down@ms
}

func TestTracker(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	cases := map[string][]step{
		"the first reply brings a peer up": {
			{ms: 0, do: "request"},
			{ms: 1, do: "reply", of: 0, want: "up@0"},
			{ms: 100, do: "request"},
			{ms: 101, do: "reply", of: 100},
		},
		"a cut is dated by the last reply": {
			{ms: 0, do: "request"},
			{ms: 1, do: "reply", of: 0, want: "up@0"},
			{ms: 100, do: "request"},
			{ms: 200, do: "request"},
			{ms: 699, do: "check"},
			{ms: 700, do: "check", want: "down@1"},
			{ms: 800, do: "check"},
		},
		"a heal is dated by the first answered request": {
			{ms: 0, do: "request"},
			{ms: 1, do: "reply", of: 0, want: "up@0"},
			{ms: 100, do: "request"},
			{ms: 700, do: "check", want: "down@1"},
			{ms: 800, do: "request"},
			{ms: 900, do: "request"},
			{ms: 901, do: "reply", of: 900, want: "up@900"},
			{ms: 1000, do: "check"},
		},
		"lost datagrams alone are no cut": {
			{ms: 0, do: "request"},
			{ms: 1, do: "reply", of: 0, want: "up@0"},
			{ms: 100, do: "request"},
			{ms: 200, do: "request"},
			{ms: 300, do: "request"},
			{ms: 400, do: "request"},
			{ms: 401, do: "reply", of: 400},
			{ms: 840, do: "check"},
		},
		"a prober that slept does not blame its peers": {
			{ms: 0, do: "request"},
			{ms: 1, do: "reply", of: 0, want: "up@0"},
			{ms: 5000, do: "check"},
			{ms: 5000, do: "request"},
			{ms: 5001, do: "reply", of: 5000},
		},
		"a peer that never answers is down": {
			{ms: 0, do: "request"},
			{ms: 100, do: "request"},
			{ms: 600, do: "check", want: "down@0"},
		},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			k := &tracker{peer: "b"}
			for _, s := range steps {
				var c change
				var changed bool
				switch s.do {
				case "request":
					k.request(at(s.ms))
				case "reply":
					c, changed = k.reply(at(s.of), at(s.ms))
				case "check":
					c, changed = k.check(at(s.ms))
				}
				got := ""
				if changed {
					got = "down@"
					if c.up {
						got = "up@"
					}
					got += itoa(int(c.at.Sub(start).Milliseconds()))
				}
				if got != s.want {
					t.Fatalf("%s at %d ms: got %q, want %q", s.do, s.ms, got, s.want)
				}
			}
		})
	}
}

func TestTrackerForgetsNothingThatDecides(t *testing.T) {
	k := &tracker{peer: "b"}
	start := time.Unix(1_700_000_000, 0)
	k.request(start)
	k.reply(start, start.Add(time.Millisecond))
	for i := 1; i <= 10*maxOutstanding; i++ {
		k.request(start.Add(time.Duration(i) * Interval))
	}
	c, changed := k.check(start.Add(time.Hour))
	if !changed || c.up || !c.at.Equal(start.Add(time.Millisecond)) {
		t.Fatalf("got %+v, %v", c, changed)
	}
	if len(k.outstanding) > maxOutstanding {
		t.Fatalf("%d requests remembered, at most %d allowed", len(k.outstanding), maxOutstanding)
	}
	healed := start.Add(2 * time.Hour)
	k.request(healed)
	if c, changed = k.reply(healed, healed.Add(time.Millisecond)); !changed || !c.up || !c.at.Equal(healed) {
		t.Fatalf("heal: got %+v, %v", c, changed)
	}
	if len(k.outstanding) != 0 {
		t.Fatalf("%d requests outstanding after a reply to the last", len(k.outstanding))
	}
}
