package mapek

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// succeeds is an Effector whose actions always succeed.
type succeeds struct{}

func (succeeds) Start(Action) error { return nil }
func (succeeds) Done(Action) bool   { return true }

func quietLoop(heal bool) *Loop {
	k, err := LoadKnowledge(nil)
	if err != nil {
		panic(err) // no bytes are no error
	}
	return NewLoop(Config{
		Policy: DefaultPolicy(), Knowledge: k, Effector: succeeds{}, Metrics: metric.New(prometheus.NewRegistry()), Prefix: "t",
		Heal: heal, Journal: func(event.Entry) {}, Keep: func(*Knowledge) {}, Clock: time.Now,
	})
}

// seeds are a thousand, and ten thousand with MESH_TEST_LONG.
func seeds() uint64 {
	if os.Getenv("MESH_TEST_LONG") != "" {
		return 10000
	}
	return 1000
}

// conditions are the types of incidents that begin and end with a condition.
var conditions = []string{metric.Misbehaviour, metric.Isolated, metric.StorageFault, metric.ClockSkew, metric.RepairStalled}

// randomSignal is any signal about any of a few peers, in any state of theirs.
func randomSignal(rng *rand.Rand, now time.Time) Signal {
	s := Signal{Kind: SignalKind(rng.IntN(int(Conditioned) + 1)), Peer: fmt.Sprintf("p%d", rng.IntN(4)), Time: now, Since: now.Add(-time.Duration(rng.IntN(2000)) * time.Millisecond)}
	switch s.Kind {
	case Unreachable:
		if rng.IntN(2) == 0 {
			s.SeenBy = []string{"p9"}
		}
	case Restarted:
		s.Missed = rng.IntN(2) == 0
	case RoundTrip:
		s.RTT = time.Duration(rng.IntN(600)) * time.Millisecond
	case Loaded:
		s.Peer, s.Load.CPU = "self", rng.Float64()*1.2
	case Conditioned:
		s.Condition = Condition{Type: conditions[rng.IntN(len(conditions))], On: rng.IntN(2) == 0}
		if of := kinds[s.Condition.Type]; of != nil {
			s.Condition.Kind = of[rng.IntN(len(of))]
		}
	}
	return s
}

// TestIncidentsEnd: after any sequence of signals about peers, met or not, every incident
// is over within a bounded time after its cause has gone: the peer is well, or it is no
// peer any more.
func TestIncidentsEnd(t *testing.T) {
	const bound = 70 * time.Second // a minute of shares and what Analyze waits
	types := map[string]bool{}     // of incidents that were open
	for seed := range seeds() {
		rng := rand.New(rand.NewPCG(seed, 99))
		l := quietLoop(seed%5 != 0)
		now := time.Unix(1e9, 0)
		step := func(signals ...Signal) {
			now = now.Add(Tick)
			for i := range signals {
				signals[i].Time = now
			}
			l.Step(now, signals)
		}
		for range 20 + rng.IntN(200) {
			var signals []Signal
			for range rng.IntN(4) {
				signals = append(signals, randomSignal(rng, now))
			}
			step(signals...)
			now = now.Add(time.Duration(rng.IntN(10)) * Tick)
			for _, i := range l.cases.open {
				types[i.Type] = true
			}
		}
		// The cause goes: of each peer in one of the two ways.
		var gone [4]bool
		for i := range gone {
			p := fmt.Sprintf("p%d", i)
			if gone[i] = rng.IntN(2) == 0; gone[i] {
				step(Signal{Kind: Gone, Peer: p})
				continue
			}
			if v := l.view.Peers[p]; v != nil && v.Met && !v.Reachable {
				step(Signal{Kind: Returned, Peer: p})
			}
			well := []Signal{{Kind: Met, Peer: p}, {Kind: Cleared, Peer: p}, {Kind: Verified, Peer: p}}
			for _, c := range conditions {
				well = append(well, Signal{Kind: Conditioned, Peer: p, Condition: Condition{Type: c}})
			}
			step(well...)
		}
		for end := now.Add(bound); now.Before(end); now = now.Add(4 * Tick) {
			signals := []Signal{{Kind: Loaded, Peer: "self"}}
			for i, gone := range gone {
				if !gone {
					signals = append(signals, Signal{Kind: RoundTrip, Peer: fmt.Sprintf("p%d", i), RTT: time.Millisecond}, Signal{Kind: Verified, Peer: fmt.Sprintf("p%d", i)})
				}
			}
			step(signals...)
		}
		if open := l.cases.open; len(open) > 0 {
			for _, i := range open {
				t.Errorf("seed %d: %q of %v is open %v after its cause has gone; gone: %v", seed, i.Type, i.Peers(), bound, gone)
			}
		}
	}
	for _, want := range slices.Concat(conditions, []string{metric.NodeCrash, metric.LinkFailure, metric.NetworkPartition, metric.LatencySLO, metric.ResourceExhaustion, metric.VerificationFailed}) {
		if !types[want] {
			t.Errorf("no %s ever opened: of that the test proves nothing", want)
		}
	}
}
