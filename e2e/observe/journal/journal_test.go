package journal

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

func outcome(o string) map[string]string { return map[string]string{event.DetailOutcome: o} }

var entries = []event.Entry{
	{Time: at(10), Phase: event.Analyze, Kind: metric.NetworkPartition}, // of an earlier fault
	{Time: at(20), Phase: event.Monitor, Kind: event.SessionVerified, Subject: "b-0"},
	{Time: at(500), Phase: event.Monitor, Kind: event.PeerUnreachable, Subject: "b-0"},
	{Time: at(600), Phase: event.Analyze, Kind: metric.LinkFailure},
	{Time: at(700), Phase: event.Analyze, Kind: metric.NetworkPartition},
	{Time: at(710), Phase: event.Plan, Kind: metric.ActivateBackupRoutes},
	{Time: at(720), Phase: event.Execute, Kind: metric.ActivateBackupRoutes, Detail: outcome("started")},
	{Time: at(800), Phase: event.Execute, Kind: metric.ActivateBackupRoutes, Detail: outcome("done")},
	{Time: at(900), Phase: event.Monitor, Kind: event.SessionVerified, Subject: "b-1"},
	{Time: at(950), Phase: event.Monitor, Kind: event.SessionVerified, Subject: "b-0"},
}

func verified(peer string) Match { return All(Kind(event.SessionVerified), About(peer)) }

func TestFirst(t *testing.T) {
	cut := at(100)
	cases := map[string]struct {
		match Match
		want  int // ms, 0: none
	}{
		"the incident, not an earlier one":           {Opened(metric.NetworkPartition), 700},
		"an incident that never was":                 {Opened(metric.NodeCrash), 0},
		"the action once its effect was seen":        {Done(metric.ActivateBackupRoutes), 800},
		"the action when it began":                   {Started(metric.ActivateBackupRoutes), 720},
		"an action that was not taken":               {Done(metric.RotateKeys), 0},
		"a session's verification, of that peer":     {verified("b-0"), 950},
		"a session that was not verified since":      {verified("a-1"), 0},
		"a planned action is no incident, and so on": {Opened(metric.ActivateBackupRoutes), 0},
	}
	for name, c := range cases {
		e, ok := First(entries, cut, c.match)
		if ok != (c.want > 0) || ok && !e.Time.Equal(at(c.want)) {
			t.Errorf("%s: got %v, %v", name, e, ok)
		}
	}
	if e, ok := Last(entries, Kind(event.SessionVerified)); !ok || !e.Time.Equal(at(950)) {
		t.Errorf("last: %v, %v", e, ok)
	}
	if e, ok := Last(entries, Kind(event.SessionLost)); ok {
		t.Errorf("last of none: %v", e)
	}
}

func TestBetween(t *testing.T) {
	in := Between(entries, at(500), at(700))
	if len(in) != 2 || !in[0].Time.Equal(at(600)) || !in[1].Time.Equal(at(700)) {
		t.Errorf("got %v", in)
	}
}

func TestKindsHelpToSeeWhatIsMissing(t *testing.T) {
	if got := Kinds(entries, at(850)); got != "monitor/session_verified" {
		t.Errorf("got %s", got)
	}
	if got := Kinds(entries, at(2000)); got != "nothing at all" {
		t.Errorf("got %s", got)
	}
}

func analyzed(id, kind string, ms int, peers string) event.Entry {
	return event.Entry{Incident: id, Phase: event.Analyze, Kind: kind, Time: at(ms), Detail: map[string]string{event.DetailPeers: peers}}
}

func TestIncidents(t *testing.T) {
	log := []event.Entry{
		analyzed("early", metric.NodeCrash, 100, "a"),
		{Incident: "two", Phase: event.Monitor, Kind: event.PeerUnreachable, Time: at(150), Subject: "c"},
		{Time: at(160), Phase: event.Monitor, Kind: event.PeerUnreachable}, // of no incident
		analyzed("late", metric.LinkFailure, 300, "b"),
		analyzed("two", metric.LinkFailure, 200, "c"),
		analyzed("two", metric.NetworkPartition, 400, "c,b"), // turned into it, after the window
		analyzed("late", event.Resolved, 500, ""),
		analyzed("after", metric.LinkFailure, 301, "b"),
		{Incident: "unnamed", Phase: event.Monitor, Kind: event.SessionLost, Time: at(250)}, // never analysed
	}
	got := Incidents(log, at(100), at(300))
	if len(got) != 2 || got[0].ID != "two" || got[1].ID != "late" {
		t.Fatalf("got %v", got)
	}
	two, late := got[0], got[1]
	if !slices.Equal(two.Types, []string{metric.LinkFailure, metric.NetworkPartition}) || !slices.Equal(two.Peers, []string{"b", "c"}) {
		t.Errorf("types %v, peers %v", two.Types, two.Peers)
	}
	if !two.Opened.Equal(at(200)) || !two.Resolved.IsZero() || len(two.Entries) != 3 {
		t.Errorf("%v: opened %v, resolved %v, %d entries", two, two.Opened, two.Resolved, len(two.Entries))
	}
	if !two.Is(metric.NetworkPartition) || two.Is(metric.NodeCrash) {
		t.Errorf("%v: is another type", two)
	}
	if !late.Resolved.Equal(at(500)) || slices.Contains(late.Types, event.Resolved) {
		t.Errorf("%v: resolved %v, types %v", late, late.Resolved, late.Types)
	}
}

// An order is what a word of letters says, each the first of a phase.
func TestOrdered(t *testing.T) {
	letters := map[rune]event.Phase{'M': event.Monitor, 'A': event.Analyze, 'P': event.Plan, 'E': event.Execute, 'K': event.Knowledge}
	for word, want := range map[string]string{
		"MAPEK":     "",
		"MMAAPEKEK": "", // what comes again later is no disorder
		"APEK":      "phase monitor",
		"MPEK":      "phase analyze",
		"MAEK":      "phase plan",
		"MAPK":      "phase execute",
		"MAPE":      "phase knowledge",
		"AMPEK":     "analyze/x came before monitor/x",
		"MAEPK":     "execute/x came before plan/x",
		"KMAPE":     "knowledge/x came before execute/x",
		"":          "phase monitor",
	} {
		i := Incident{ID: "1"}
		for seq, l := range word {
			i.Entries = append(i.Entries, event.Entry{Seq: uint64(seq + 1), Phase: letters[l], Kind: "x"})
		}
		err := i.Ordered()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", word, err, want)
		}
	}
}

// The numbers tell the order, whatever the clock did.
func TestOrderedByNumbers(t *testing.T) {
	i := Incident{ID: "1"}
	for n, p := range phases {
		i.Entries = append(i.Entries, event.Entry{Seq: uint64(n + 1), Time: at(-n), Phase: p})
	}
	if err := i.Ordered(); err != nil {
		t.Error(err)
	}
	slices.Reverse(i.Entries)
	for n := range i.Entries {
		i.Entries[n].Time = at(n)
	}
	if err := i.Ordered(); err != nil {
		t.Errorf("the same entries in another order: %v", err)
	}
}
