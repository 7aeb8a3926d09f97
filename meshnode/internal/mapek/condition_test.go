package mapek

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// TestAFaultTurnsAndLasts: a fault of the store is one incident, whatever kinds it turns into; its kind decides what
// is done about it; and once it has lasted, or something is lost, another node is asked for, once.
func TestAFaultTurnsAndLasts(t *testing.T) {
	var planned, opened []string
	k, err := LoadKnowledge(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLoop(Config{
		Policy: DefaultPolicy(), Knowledge: k, Effector: succeeds{}, Metrics: metric.New(prometheus.NewRegistry()), Prefix: "t", Heal: true,
		Keep: func(*Knowledge) {}, Clock: time.Now, Journal: func(e event.Entry) {
			switch {
			case e.Phase == event.Plan:
				planned = append(planned, e.Kind)
			case e.Phase == event.Analyze && e.Detail["moment"] == string(Opened):
				opened = append(opened, e.Detail[event.DetailKind])
			}
		},
	})
	now := time.Unix(1e9, 0)
	step := func(wait time.Duration, signals ...Signal) []string {
		now = now.Add(wait)
		for i := range signals {
			signals[i].Time = now
		}
		planned = nil
		l.Step(now, signals)
		return planned
	}
	fault := func(kind string) Signal {
		return Signal{Kind: Conditioned, Peer: "self", Condition: Condition{Type: metric.StorageFault, Kind: kind, On: kind != "", Reason: "why " + kind}}
	}
	all := []string{metric.StopWrites, metric.YieldSessions, metric.RecoverStore}
	if got := step(0, fault(metric.FaultQuota)); len(got) > 0 || l.Faulty() {
		t.Errorf("a quota: %v", got)
	}
	if got := step(time.Minute); len(got) > 0 {
		t.Errorf("a quota that lasts: %v", got)
	}
	if got := step(Tick, fault(metric.FaultError)); !slices.Equal(got, all) {
		t.Errorf("a disk that fails when the quota is reached: %v", got)
	}
	if got := step(29 * time.Second); len(got) > 0 {
		t.Errorf("29 s after the quota turned into a fault: %v", got)
	}
	if got := step(time.Second); !slices.Equal(got, []string{metric.RequestReplacement}) {
		t.Errorf("30 s after the quota turned into a fault: %v", got)
	}
	step(Tick, fault(""))
	if got := step(Tick, fault(metric.FaultLatency)); !slices.Equal(got, all) || !l.Faulty() {
		t.Errorf("a slow disk: %v", got)
	}
	if got := step(Tick, fault(metric.FaultLatency)); len(got) > 0 {
		t.Errorf("said again: %v", got)
	}
	if got := step(Tick, fault(metric.FaultError)); !slices.Equal(got, all) {
		t.Errorf("one that turns into a failing one: %v", got)
	}
	if open := l.Open(); len(open) != 1 || open[0].Kind != metric.FaultError || open[0].Reason != "why error" {
		t.Errorf("open: %+v", open)
	}
	if got := step(29 * time.Second); len(got) > 0 {
		t.Errorf("after 29 s: %v", got)
	}
	if got := step(time.Second); !slices.Equal(got, []string{metric.RequestReplacement}) {
		t.Errorf("after 30 s: %v", got)
	}
	if got := step(time.Minute); len(got) > 0 {
		t.Errorf("later: %v", got)
	}
	step(Tick, fault(""))
	if l.Faulty() || len(l.Open()) > 0 {
		t.Error("still open")
	}
	if got := step(Tick, fault(metric.FaultLost)); !slices.Equal(got, append(slices.Clone(all), metric.RequestReplacement)) {
		t.Errorf("a loss: %v", got)
	}
	if want := []string{metric.FaultQuota, metric.FaultLatency, metric.FaultLost}; !slices.Equal(opened, want) {
		t.Errorf("opened: %v", opened)
	}
	if last := l.Past()[1]; last.Kind != metric.FaultError || last.Reason == "" {
		t.Errorf("remembered: %+v", last)
	}
}
