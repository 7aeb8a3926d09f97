package mapek

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// again is the finding that a peer's failures reached the limit, and its incident.
func again(peer string) (*Cases, []Finding) {
	cases := NewCases("x")
	i := cases.add(&Incident{Type: metric.VerificationFailed})
	i.Subjects[peer] = &Subject{Proven: true}
	return cases, []Finding{{Repeated, i, []string{peer}}}
}

// Somebody between two nodes can spoil what travels in clear as often as he likes:
// only what opened under the peer's session counts against it.
func TestNobodyIsBlockedWithoutProof(t *testing.T) {
	p := DefaultPolicy()
	p.Strikes = 3
	k, err := LoadKnowledge(nil)
	if err != nil {
		t.Fatal(err)
	}
	cases, v := NewCases("x"), NewView()
	v.peer("b").Met = true
	strike := func(i int, proven bool) []Action {
		now := at(1000 * i)
		var findings []Finding
		for range p.Failures {
			findings = append(findings, cases.failed(now, p, Symptom{Kind: event.SessionFailed, Peer: "b", Time: now})...)
			if proven {
				cases.proven(Symptom{Kind: event.ProvenBad, Peer: "b", Time: now})
			}
		}
		plan := Plan(now, p, cases, k, findings, nil, nil)
		k.Learn(now, p, findings, nil)
		later := now.Add(time.Duration(p.Quiet))
		for _, open := range cases.open {
			cases.calm(later, p, v, open) // the session that follows counts anew
		}
		return plan
	}
	once := []string{metric.InvalidateSession}
	for i := range 10 {
		if got := names(strike(i, false)); !slices.Equal(got, once) || k.Threats[0].Strikes != 0 {
			t.Fatalf("failure %d without proof: %q, threats %+v", i, got, k.Threats)
		}
	}
	for i := range 3 {
		want := once
		if i == 2 {
			want = []string{metric.BlockPeer, metric.InvalidateSession}
		}
		if got := names(strike(10+i, true)); !slices.Equal(got, want) {
			t.Errorf("failure %d with proof: %q, want %q", i, got, want)
		}
	}
	if got := names(strike(13, false)); !slices.Equal(got, once) {
		t.Errorf("an old proof counts again: %q", got)
	}
}

func names(actions []Action) []string {
	var n []string
	for _, a := range actions {
		n = append(n, a.Name)
	}
	slices.Sort(n)
	return n
}

func TestARelapsedPeerIsBlocked(t *testing.T) {
	p := DefaultPolicy()
	p.Strikes = 3
	once := []string{metric.InvalidateSession}
	for _, c := range []struct {
		name  string
		gap   time.Duration
		times int
		want  []string
	}{
		{"first", time.Minute, 1, once},
		{"second", time.Minute, 2, once},
		{"third", time.Minute, 3, []string{metric.BlockPeer, metric.InvalidateSession}},
		{"third, long after", time.Duration(p.StrikeWindow) + time.Second, 3, once},
	} {
		k, err := LoadKnowledge(nil)
		if err != nil {
			t.Fatal(err)
		}
		cases, findings := again("b")
		now, plan := t0, []Action(nil)
		for range c.times {
			now = now.Add(c.gap)
			plan = Plan(now, p, cases, k, findings, nil, nil)
			k.Learn(now, p, findings, nil)
		}
		if got := names(plan); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestABlockOutlivesARestartAndEnds(t *testing.T) {
	p := DefaultPolicy()
	k, err := LoadKnowledge(nil)
	if err != nil {
		t.Fatal(err)
	}
	cases, findings := again("b")
	block := Outcome{Action: Action{Name: metric.BlockPeer, Peer: "b", Started: t0}}
	if !k.Learn(t0, p, findings, []Outcome{block}) {
		t.Error("nothing learned")
	}
	b, err := k.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if k, err = LoadKnowledge(b); err != nil {
		t.Fatal(err)
	}
	end := t0.Add(time.Duration(p.Block))
	if got := k.Blocked(end.Add(-1)); len(got) != 1 || got[0].Peer != "b" || !got[0].Until.Equal(end) {
		t.Errorf("after a restart %+v are blocked", got)
	}
	quiet := []Finding{{Quiet, findings[0].Incident, []string{"b"}}}
	retry := []Outcome{{Action: Action{Name: metric.InvalidateSession, Peer: "b", Incident: findings[0].Incident.ID, Attempt: 1}, Err: ErrNoEffect}}
	if plan := Plan(end.Add(-1), p, cases, k, quiet, retry, nil); len(plan) != 0 {
		t.Errorf("for a blocked peer %q are planned", names(plan))
	}
	if plan := Plan(end, p, cases, k, quiet, nil, nil); !slices.Equal(names(plan), []string{metric.RotateKeys}) || len(k.Blocked(end)) != 0 {
		t.Errorf("after the block %q are planned", names(plan))
	}
	k.Learn(end.Add(time.Duration(p.StrikeWindow)+1), p, nil, nil)
	if len(k.Threats) != 0 {
		t.Errorf("never forgotten: %+v", k.Threats)
	}
	// A block that failed blocks nobody.
	block.Err = ErrNoEffect
	k.Learn(t0, p, findings, []Outcome{block})
	if len(k.Blocked(t0)) != 0 {
		t.Error("a failed block is kept as one")
	}
}

// TestAClockSetBackProlongsNoBlock: of a node that starts with its clock a day back, nobody is blocked
// for longer than a block, and the list forgets in time.
func TestAClockSetBackProlongsNoBlock(t *testing.T) {
	p := DefaultPolicy()
	k, err := LoadKnowledge(nil)
	if err != nil {
		t.Fatal(err)
	}
	cases, findings := again("b")
	k.Learn(t0, p, findings, []Outcome{{Action: Action{Name: metric.BlockPeer, Peer: "b", Started: t0}}})
	now := t0.Add(-24 * time.Hour)
	k.Recall(now, p)
	end := now.Add(time.Duration(p.Block))
	quiet := []Finding{{Quiet, findings[0].Incident, []string{"b"}}}
	if plan := Plan(end.Add(-1), p, cases, k, quiet, nil, nil); len(plan) != 0 {
		t.Errorf("within the block %q are planned", names(plan))
	}
	if plan := Plan(end, p, cases, k, quiet, nil, nil); !slices.Equal(names(plan), []string{metric.RotateKeys}) {
		t.Errorf("after the block %q are planned", names(plan))
	}
	if k.Learn(now.Add(time.Duration(p.StrikeWindow)+1), p, nil, nil); len(k.Threats) != 0 {
		t.Errorf("never forgotten: %+v", k.Threats)
	}
	// What a clock that was right has left stays as it is.
	k.Learn(t0, p, findings, []Outcome{{Action: Action{Name: metric.BlockPeer, Peer: "b", Started: t0}}})
	before := k.Threats[0]
	if k.Recall(t0, p); k.Threats[0] != before {
		t.Errorf("%+v became %+v", before, k.Threats[0])
	}
}

func TestThreatsAreBounded(t *testing.T) {
	p := DefaultPolicy()
	k, err := LoadKnowledge(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, findings := again("first")
	k.Learn(t0, p, findings, []Outcome{{Action: Action{Name: metric.BlockPeer, Peer: "first", Started: t0}}})
	for i := range 2 * maxThreats {
		_, findings := again(fmt.Sprint(i))
		k.Learn(at(i), p, findings, nil)
	}
	if len(k.Threats) != maxThreats || !k.blocked(at(0), "first") || k.threat(fmt.Sprint(2*maxThreats-1)) == nil || k.threat("0") != nil {
		t.Errorf("%d threats; the blocked one is there: %v", len(k.Threats), k.blocked(at(0), "first"))
	}
}
