package mapek

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

var t0 = time.Unix(1e9, 0)

func at(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }

func TestMonitorReportsChangesOnly(t *testing.T) {
	for _, c := range []struct {
		name    string
		signals []Signal
		want    []string
	}{
		{"met once", []Signal{{Kind: Met, Peer: "b"}, {Kind: Met, Peer: "b"}}, []string{"peer_reachable b"}},
		{"a stranger cannot be lost", []Signal{{Kind: Unreachable, Peer: "b"}, {Kind: Returned, Peer: "b"}}, nil},
		{"lost once", []Signal{{Kind: Met, Peer: "b"}, {Kind: Unreachable, Peer: "b"}, {Kind: Unreachable, Peer: "b"}}, []string{"peer_reachable b", "peer_unreachable b"}},
		{"suspicion is no symptom", []Signal{{Kind: Met, Peer: "b"}, {Kind: Suspected, Peer: "b"}, {Kind: Cleared, Peer: "b"}}, []string{"peer_reachable b"}},
		{"verified once", []Signal{{Kind: Met, Peer: "b"}, {Kind: Verified, Peer: "b"}, {Kind: Verified, Peer: "b"}}, []string{"peer_reachable b", "session_verified b"}},
		{"verified again after a return", []Signal{{Kind: Met, Peer: "b"}, {Kind: Verified, Peer: "b"}, {Kind: Unreachable, Peer: "b"}, {Kind: Verified, Peer: "b"}, {Kind: Returned, Peer: "b"}, {Kind: Verified, Peer: "b"}},
			[]string{"peer_reachable b", "session_verified b", "peer_unreachable b", "session_lost b", "peer_returned b", "session_verified b"}},
		{"gone is forgotten", []Signal{{Kind: Met, Peer: "b"}, {Kind: Gone, Peer: "b"}, {Kind: Gone, Peer: "b"}, {Kind: Unreachable, Peer: "b"}}, []string{"peer_reachable b", "peer_left b"}},
		{"failures count", []Signal{{Kind: VerificationFailed, Peer: "b"}, {Kind: VerificationFailed, Peer: "b"}}, []string{"session_failed b", "session_failed b"}},
		{"one timeout until verified", []Signal{{Kind: Met, Peer: "b"}, {Kind: TimedOut, Peer: "b"}, {Kind: Verified, Peer: "b"}, {Kind: TimedOut, Peer: "b"}, {Kind: TimedOut, Peer: "b"}},
			[]string{"peer_reachable b", "session_verified b", "session_timeout b"}},
		{"a restart needs a new proof", []Signal{{Kind: Met, Peer: "b"}, {Kind: Verified, Peer: "b"}, {Kind: Restarted, Peer: "b"}, {Kind: Verified, Peer: "b"}},
			[]string{"peer_reachable b", "session_verified b", "peer_restarted b", "session_verified b"}},
	} {
		var got []string
		for _, s := range Monitor(t0, DefaultPolicy(), NewView(), c.signals) {
			got = append(got, s.Kind+" "+s.Peer)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// step is what happens at a time, in milliseconds.
type step struct {
	ms      int
	signals []Signal
	// want are the findings "moment type peers".
	want []string
}

// mesh is the signals of having met peers.
func met(peers ...string) []Signal {
	var s []Signal
	for _, p := range peers {
		s = append(s, Signal{Kind: Met, Peer: p}, Signal{Kind: Verified, Peer: p})
	}
	return s
}

func lost(seenBy string, peers ...string) []Signal {
	var s []Signal
	for _, p := range peers {
		sig := Signal{Kind: Unreachable, Peer: p}
		if seenBy != "" {
			sig.SeenBy = []string{seenBy}
		}
		s = append(s, sig)
	}
	return s
}

func back(peers ...string) []Signal {
	var s []Signal
	for _, p := range peers {
		s = append(s, Signal{Kind: Returned, Peer: p})
	}
	return s
}

func verified(peers ...string) []Signal {
	var s []Signal
	for _, p := range peers {
		s = append(s, Signal{Kind: Verified, Peer: p})
	}
	return s
}

func trips(ms int, peers ...string) []Signal {
	var s []Signal
	for _, p := range peers {
		s = append(s, Signal{Kind: RoundTrip, Peer: p, RTT: time.Duration(ms) * time.Millisecond})
	}
	return s
}

func loads(l Load) []Signal { return []Signal{{Kind: Loaded, Peer: "a", Load: l}} }

func failed(n int, peer string) []Signal {
	return slices.Repeat([]Signal{{Kind: VerificationFailed, Peer: peer}}, n)
}

func TestAnalyze(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"one peer that no one hears crashed, once the others had time to fall", []step{
			{0, met("b", "c", "d"), nil},
			{1000, lost("", "b"), nil},
			{1100, nil, nil},
			{1200, nil, []string{"opened node_crash b"}},
			{5000, nil, nil},
			{6000, back("b"), []string{"returned node_crash b"}},
			{6100, verified("b"), []string{"resolved node_crash b"}},
		}},
		{"one that is back before it was missed crashed, too", []step{
			{0, append(met("b", "c"), verified("b", "c")...), nil},
			{1000, []Signal{{Kind: Restarted, Peer: "b"}}, []string{"opened node_crash b", "returned node_crash b"}},
			{1050, []Signal{{Kind: Restarted, Peer: "b"}}, nil},
			{1100, verified("b"), []string{"resolved node_crash b"}},
		}},
		{"what others heard was the successor of one that crashed", []step{
			{0, append(met("b", "c", "d"), verified("b", "c", "d")...), nil},
			{1000, lost("c", "b"), []string{"opened link_failure b"}},
			{1100, append([]Signal{{Kind: Restarted, Peer: "b", Missed: true}}, back("b")...), []string{"opened node_crash b", "returned node_crash b"}},
			{1200, verified("b"), []string{"resolved node_crash b"}},
		}},
		{"a successor that is there before its predecessor was judged", []step{
			{0, append(met("b", "c", "d"), verified("b", "c", "d")...), nil},
			{1000, lost("", "b"), nil},
			{1050, append([]Signal{{Kind: Restarted, Peer: "b", Missed: true}}, back("b")...), []string{"opened node_crash b", "returned node_crash b"}},
			{1200, verified("b"), []string{"resolved node_crash b"}},
		}},
		{"a successor that is heard only after it is back", []step{
			{0, append(met("b", "c", "d"), verified("b", "c", "d")...), nil},
			{1000, lost("c", "b"), []string{"opened link_failure b"}},
			{1100, back("b"), []string{"returned link_failure b"}},
			{1150, []Signal{{Kind: Restarted, Peer: "b", Missed: true}}, []string{"opened node_crash b"}},
			{1200, verified("b"), []string{"resolved node_crash b"}},
			{1300, []Signal{{Kind: Restarted, Peer: "b", Missed: true}}, nil}, // that is known
		}},
		{"a successor that is heard only when all is well again", []step{
			{0, append(met("b", "c", "d"), verified("b", "c", "d")...), nil},
			{1000, lost("c", "b"), []string{"opened link_failure b"}},
			{1100, append(append(back("b"), verified("b")...), Signal{Kind: Restarted, Peer: "b", Missed: true}),
				[]string{"returned link_failure b", "resolved link_failure b", "opened node_crash b", "returned node_crash b"}},
			{1200, verified("b"), []string{"resolved node_crash b"}},
		}},
		{"one that was back before it was judged", []step{
			{0, append(met("b", "c", "d"), verified("b", "c", "d")...), nil},
			{1000, lost("", "b"), nil},
			{1050, back("b"), nil},
			{1100, []Signal{{Kind: Restarted, Peer: "b", Missed: true}}, []string{"opened node_crash b", "returned node_crash b"}},
			{1200, verified("b"), []string{"resolved node_crash b"}},
		}},
		{"a link that failed long ago was no crash of now", []step{
			{0, append(met("b", "c", "d"), verified("b", "c", "d")...), nil},
			{1000, lost("c", "b"), []string{"opened link_failure b"}},
			{1100, back("b"), []string{"returned link_failure b"}},
			{1200, verified("b"), []string{"resolved link_failure b"}},
			{60000, []Signal{{Kind: Restarted, Peer: "b", Missed: true}}, nil},
		}},
		{"a restart in a partition changes nothing", []step{
			{0, met("b", "c", "d"), nil},
			{1000, lost("", "b", "c"), []string{"opened network_partition b,c"}},
			{1100, append([]Signal{{Kind: Restarted, Peer: "b", Missed: true}}, back("b")...), []string{"returned network_partition b"}},
		}},
		{"one peer that others hear is behind a failed link", []step{
			{0, met("b", "c", "d"), nil},
			{1000, lost("c", "b"), []string{"opened link_failure b"}},
		}},
		{"unless someone else is suspected, too", []step{
			{0, met("b", "c", "d", "e"), nil},
			{1000, append(lost("d", "b"), Signal{Kind: Suspected, Peer: "c"}), nil},
			{1050, lost("d", "c"), []string{"opened network_partition b,c"}},
		}},
		{"two at once are a partition, at once", []step{
			{0, met("b", "c", "d", "e"), nil},
			{1000, lost("", "b"), nil},
			{1050, lost("", "c"), []string{"opened network_partition b,c"}},
			{9000, back("b"), []string{"returned network_partition b"}},
			{9100, verified("b"), nil},
			{9200, back("c"), []string{"returned network_partition c"}},
			{9300, verified("c"), []string{"resolved network_partition b,c"}},
		}},
		{"two links of which others hear the peers are a partition too", []step{
			{0, met("b", "c", "d", "e"), nil},
			{1000, lost("d", "b", "c"), []string{"opened network_partition b,c"}},
		}},
		{"own isolation", []step{
			{0, met("b", "c"), nil},
			{1000, lost("", "b", "c"), []string{"opened network_partition b,c"}},
		}},
		{"a suspect is waited for, but not for ever", []step{
			{0, met("b", "c", "d"), nil},
			{1000, append(lost("", "b"), Signal{Kind: Suspected, Peer: "c"}), nil},
			{1300, nil, nil},
			{1400, nil, []string{"opened node_crash b"}},
		}},
		{"a fault that spreads slowly becomes worse and stays one incident", []step{
			{0, met("b", "c", "d", "e"), nil},
			{1000, lost("", "b"), nil},
			{1200, nil, []string{"opened node_crash b"}},
			{3000, lost("", "c"), []string{"extended network_partition c", "opened network_partition b,c"}},
			{4000, lost("", "d"), []string{"extended network_partition d"}},
		}},
		{"a crash long after another is an incident of its own", []step{
			{0, met("b", "c", "d", "e"), nil},
			{1000, lost("", "b"), nil},
			{1200, nil, []string{"opened node_crash b"}},
			{60000, lost("", "c"), nil},
			{60200, nil, []string{"opened node_crash c"}},
		}},
		{"shorter than the settling time is nothing", []step{
			{0, met("b", "c", "d"), nil},
			{1000, lost("", "b"), nil},
			{1100, back("b"), nil},
			{2000, nil, nil},
		}},
		{"reachable but not verified is not over", []step{
			{0, met("b", "c", "d"), nil},
			{1000, lost("", "b", "c"), []string{"opened network_partition b,c"}},
			{2000, back("b", "c"), []string{"returned network_partition b", "returned network_partition c"}},
			{60000, nil, nil},
		}},
		{"a peer that left needs no return", []step{
			{0, met("b", "c", "d"), nil},
			{1000, lost("", "b"), nil},
			{1200, nil, []string{"opened node_crash b"}},
			{2000, []Signal{{Kind: Gone, Peer: "b"}}, []string{"resolved node_crash "}},
		}},
		{"the third failure is one too many; then the attack ends and the new session is good", []step{
			{0, met("b", "c"), nil},
			{1000, failed(1, "b"), []string{"opened verification_failed b"}},
			{1100, failed(1, "b"), nil},
			{1200, failed(1, "b"), []string{"repeated verification_failed b"}},
			{2200, nil, []string{"quiet verification_failed b"}},
			{2300, verified("b"), []string{"resolved verification_failed b"}},
		}},
		{"the attack goes on: the new session fails as often before it is given up", []step{
			{0, append(met("b", "c"), slices.Repeat(verified("b"), 100)...), nil},
			{1000, failed(3, "b"), []string{"opened verification_failed b", "repeated verification_failed b"}},
			{2000, nil, []string{"quiet verification_failed b"}},
			{2100, append(verified("b"), failed(2, "b")...), nil},
			{2200, failed(1, "b"), []string{"repeated verification_failed b"}},
			{3200, nil, []string{"quiet verification_failed b"}},
			{3300, verified("b"), []string{"resolved verification_failed b"}},
		}},
		{"a single failure is over when the next attestation is good", []step{
			{0, met("b", "c"), nil},
			{1000, failed(1, "b"), []string{"opened verification_failed b"}},
			{1500, verified("b"), nil},
			{2000, nil, []string{"resolved verification_failed b"}},
		}},
		{"latency is one incident for all slow peers, and over with the last", []step{
			{0, met("b", "c", "d"), nil},
			{1000, trips(400, "b"), nil},
			{2000, trips(400, "b", "c"), nil},
			{3000, trips(400, "b", "c"), []string{"opened latency_slo b"}},
			{4000, trips(400, "b", "c"), []string{"extended latency_slo c"}},
			{5000, trips(1, "b"), nil},
			{6000, trips(400, "b"), nil},
			{6500, trips(1, "b", "c"), nil},
			{8500, trips(1, "b", "c"), []string{"returned latency_slo b", "returned latency_slo c", "resolved latency_slo b,c"}},
		}},
		{"a slow peer that is lost, or left, is slow no more; an attestation does not make it quick", []step{
			{0, met("b", "c", "d", "e"), nil},
			{1000, trips(400, "b", "c"), nil},
			{3000, trips(400, "b", "c"), []string{"opened latency_slo b", "extended latency_slo c"}},
			{3100, append(failed(1, "b"), verified("b")...), []string{"opened verification_failed b"}},
			{3200, []Signal{{Kind: Gone, Peer: "b"}}, []string{"returned latency_slo b"}},
			{4000, lost("", "c"), []string{"returned latency_slo c", "resolved latency_slo b,c"}},
		}},
		{"a load that lasts is one incident, whichever resource is short, until all have been at rest for long", []step{
			{0, loads(Load{CPU: 0.95}), nil},
			{1000, loads(Load{Throttled: 0.4}), nil},
			{3000, loads(Load{Lag: time.Second}), []string{"opened resource_exhaustion a"}},
			{4000, loads(Load{Memory: 0.95}), nil},
			{9000, loads(Load{CPU: 0.8}), nil},
			{9500, loads(Load{CPU: 0.2}), nil},
			{14000, loads(Load{CPU: 0.2}), nil},
			{14500, loads(Load{CPU: 0.2}), []string{"resolved resource_exhaustion a"}},
			{15000, loads(Load{Queued: time.Second}), nil},
			{18000, loads(Load{Queued: time.Second}), []string{"opened resource_exhaustion a"}},
		}},
		{"a burst is no exhaustion", []step{
			{0, loads(Load{CPU: 1, Throttled: 1}), nil},
			{2500, loads(Load{CPU: 1, Throttled: 1}), nil},
			{2900, loads(Load{CPU: 0.1, Throttled: 0.1, Memory: 0.3, Queued: time.Millisecond, Lag: time.Millisecond}), nil},
			{3100, loads(Load{CPU: 1, Throttled: 1}), nil},
			{6000, loads(Load{CPU: 0.1}), nil},
			{9000, loads(Load{}), nil},
		}},
		{"what happens to a peer does not end it, and it is no matter of peers", []step{
			{0, append(met("b", "c"), loads(Load{CPU: 1})...), nil},
			{3000, loads(Load{CPU: 1}), []string{"opened resource_exhaustion a"}},
			{4000, append(verified("b"), failed(1, "c")...), []string{"opened verification_failed c"}},
			{5000, append(loads(Load{CPU: 1}), verified("c")...), []string{"resolved verification_failed c"}},
		}},
		{"a stall is no latency", []step{
			{0, met("b", "c"), nil},
			{1000, trips(900, "b"), nil},
			{1100, trips(1, "b"), nil},
			{4000, trips(900, "b"), nil},
		}},
		{"a high rate is one incident per episode", []step{
			{0, met("b", "c"), nil},
			{1000, failed(10, "b"), []string{"opened verification_failed b", "repeated verification_failed b", "opened high_failure_rate b"}},
			{1100, failed(10, "b"), nil},
			{2100, nil, []string{"quiet high_failure_rate b"}},
			{61000, nil, nil},
			{61200, nil, []string{"resolved high_failure_rate b"}},
		}},
		{"whose rate is high is dealt with under that incident", []step{
			{0, met("b", "c"), nil},
			{1000, failed(5, "b"), []string{"opened verification_failed b", "repeated verification_failed b", "opened high_failure_rate b"}},
			{2000, verified("b"), []string{"quiet high_failure_rate b", "resolved verification_failed b"}},
			{3000, failed(3, "b"), []string{"opened verification_failed b", "repeated high_failure_rate b"}},
			{4000, verified("b"), []string{"quiet high_failure_rate b", "resolved verification_failed b"}},
			{5000, failed(1, "b"), []string{"opened verification_failed b"}},
			{6000, verified("b"), []string{"quiet high_failure_rate b", "resolved verification_failed b"}},
			{7000, failed(3, "c"), []string{"opened verification_failed c", "repeated verification_failed c"}},
			{7100, failed(2, "c"), []string{"extended high_failure_rate c"}},
		}},
		{"a high rate ends with its peer", []step{
			{0, met("b", "c"), nil},
			{1000, failed(5, "b"), []string{"opened verification_failed b", "repeated verification_failed b", "opened high_failure_rate b"}},
			{1100, []Signal{{Kind: Gone, Peer: "b"}}, []string{"resolved high_failure_rate "}},
			{1200, verified("b"), nil},
			{2000, nil, []string{"resolved verification_failed "}},
		}},
		{"a rate that swings around the limit is one episode", []step{
			{0, append(met("b", "c"), verified("c")...), nil},
			{1000, failed(5, "b"), []string{"opened verification_failed b", "repeated verification_failed b", "opened high_failure_rate b"}},
			{1100, slices.Repeat(verified("b"), 50), nil}, // 5 of 55
			{1200, failed(2, "b"), nil},                   // 7 of 57
			{1300, slices.Repeat(verified("b"), 90), []string{"resolved high_failure_rate b"}},
		}},
		{"what others verify well hides no one", []step{
			{0, append(met("b", "c"), slices.Repeat(verified("c"), 500)...), nil},
			{1000, failed(5, "b"), []string{"opened verification_failed b", "repeated verification_failed b", "opened high_failure_rate b"}},
		}},
	} {
		v, cases := NewView(), NewCases("x")
		p := DefaultPolicy()
		for _, s := range c.steps {
			now := at(s.ms)
			for i := range s.signals {
				s.signals[i].Time = now
			}
			var got []string
			for _, f := range Analyze(now, p, v, cases, Monitor(now, p, v, s.signals)) {
				got = append(got, string(f.Moment)+" "+f.Incident.Type+" "+strings.Join(f.Peers, ","))
			}
			if !slices.Equal(got, s.want) {
				t.Errorf("%s: at %d ms: %q, want %q", c.name, s.ms, got, s.want)
			}
		}
	}
}

func TestAnalyzeKeepsTheIDOfAnIncidentThatGrows(t *testing.T) {
	v, cases, p := NewView(), NewCases("n-7"), DefaultPolicy()
	Analyze(t0, p, v, cases, Monitor(t0, p, v, met("b", "c", "d")))
	run := func(ms int, s []Signal) []Finding {
		for i := range s {
			s[i].Time = at(ms)
		}
		return Analyze(at(ms), p, v, cases, Monitor(at(ms), p, v, s))
	}
	run(1000, lost("", "b"))
	first := run(1200, nil)[0].Incident
	id, opened := first.ID, first.Opened
	run(3000, lost("", "c"))
	open := cases.Open()
	if len(open) != 1 || open[0].ID != id || open[0].Opened != opened || id != "n-7-1" || cases.Of(event.PeerUnreachable, "c") != id {
		t.Errorf("open %+v, first id %s", open, id)
	}
}

// The journal ties a symptom to its incident, and a peer may have several at a time.
func TestASymptomBelongsToItsOwnKindOfIncident(t *testing.T) {
	cases := NewCases("x")
	for _, typ := range []string{metric.NodeCrash, metric.VerificationFailed, metric.HighFailureRate, metric.LatencySLO} {
		cases.add(&Incident{Type: typ}).Subjects["b"] = &Subject{}
	}
	cases.add(&Incident{Type: metric.ResourceExhaustion}).Subjects["self"] = &Subject{}
	for _, c := range []struct{ kind, peer, want string }{
		{event.PeerUnreachable, "b", "x-1"}, {event.PeerReturned, "b", "x-1"}, {event.PeerRestarted, "b", "x-1"},
		{event.SessionFailed, "b", "x-2"}, {event.SessionVerified, "b", "x-2"},
		{event.FailuresHigh, "b", "x-3"}, {event.FailuresNormal, "b", "x-3"}, {event.SessionLost, "b", "x-1"},
		{event.LatencyHigh, "b", "x-4"}, {event.LatencyNormal, "b", "x-4"},
		{event.ResourcesShort, "self", "x-5"}, {event.PeerUnreachable, "self", ""}, {event.SessionFailed, "c", ""},
	} {
		if got := cases.Of(c.kind, c.peer); got != c.want {
			t.Errorf("%s of %s: incident %q, want %q", c.kind, c.peer, got, c.want)
		}
	}
}
