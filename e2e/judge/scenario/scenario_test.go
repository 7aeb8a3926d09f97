package scenario

import (
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/fixtures"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

var journal = []event.Entry{
	{Time: at(10), Phase: event.Analyze, Kind: metric.NetworkPartition}, // of an earlier fault
	{Time: at(20), Phase: event.Monitor, Kind: event.SessionVerified, Subject: "b-0"},
	{Time: at(500), Phase: event.Monitor, Kind: event.PeerUnreachable, Subject: "b-0"},
	{Time: at(600), Phase: event.Analyze, Kind: metric.LinkFailure},
	{Time: at(700), Phase: event.Analyze, Kind: metric.NetworkPartition},
	{Time: at(710), Phase: event.Plan, Kind: metric.ActivateBackupRoutes},
	{Time: at(720), Phase: event.Execute, Kind: metric.ActivateBackupRoutes, Detail: map[string]string{event.DetailOutcome: "started"}},
	{Time: at(800), Phase: event.Execute, Kind: metric.ActivateBackupRoutes, Detail: map[string]string{event.DetailOutcome: "done"}},
	{Time: at(900), Phase: event.Monitor, Kind: event.SessionVerified, Subject: "b-1"},
	{Time: at(950), Phase: event.Monitor, Kind: event.SessionVerified, Subject: "b-0"},
}

func TestFirst(t *testing.T) {
	cut := at(100)
	cases := map[string]struct {
		match func(event.Entry) bool
		want  int // ms, 0: none
	}{
		"the incident, not an earlier one":           {journal.Opened(metric.NetworkPartition), 700},
		"an incident that never was":                 {journal.Opened(metric.NodeCrash), 0},
		"the action once its effect was seen":        {journal.Done(metric.ActivateBackupRoutes), 800},
		"an action that was not taken":               {journal.Done(metric.RotateKeys), 0},
		"a session's verification, of that peer":     {Verified("b-0"), 950},
		"a session that was not verified since":      {Verified("a-1"), 0},
		"a planned action is no incident, and so on": {journal.Opened(metric.ActivateBackupRoutes), 0},
	}
	for name, c := range cases {
		e, ok := journal.First(journal, cut, c.match)
		if ok != (c.want > 0) || ok && !e.Time.Equal(at(c.want)) {
			t.Errorf("%s: got %v, %v", name, e, ok)
		}
	}
}

func TestFailedTimes(t *testing.T) {
	var attack []event.Entry
	for i, incident := range []string{"1", "1", "2", "2", "2"} {
		attack = append(attack, event.Entry{Time: at(100 * (i + 1)), Kind: event.SessionFailed, Subject: "b-0", Incident: incident},
			event.Entry{Time: at(100*i + 150), Kind: event.SessionFailed, Subject: "b-1", Incident: "3"})
	}
	if e, ok := FailedTimes(attack, at(0), "b-0", 3); !ok || !e.Time.Equal(at(500)) {
		t.Errorf("third failure of one incident: %v, %v", e, ok)
	}
	if e, ok := FailedTimes(attack, at(300), "b-0", 3); ok {
		t.Errorf("three since then, got %v", e)
	}
}

func TestMissingPhases(t *testing.T) {
	journal := []event.Entry{
		{Incident: "1", Phase: event.Monitor}, {Incident: "1", Phase: event.Analyze}, {Incident: "2", Phase: event.Plan},
		{Incident: "1", Phase: event.Execute}, {Incident: "1", Phase: event.Knowledge},
	}
	if got := MissingPhases(journal, "1"); len(got) != 1 || got[0] != event.Plan {
		t.Errorf("got %v", got)
	}
}

func TestLostAt(t *testing.T) {
	killed, died := at(1000), at(3000)
	for name, c := range map[string]struct {
		successor []event.Entry
		want      time.Time
	}{
		"no successor yet":                     {nil, died},
		"a successor after its death":          {[]event.Entry{{Time: at(3500)}, {Time: at(4000)}}, died},
		"a successor while its processes end":  {[]event.Entry{{Time: at(1700)}, {Time: at(2000)}}, at(1700)},
		"entries of the node before its death": {[]event.Entry{{Time: at(500)}, {Time: at(1700)}}, at(1700)},
	} {
		if got := LostAt(killed, died, c.successor); !got.Equal(c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestComparisons(t *testing.T) {
	before, after := map[string]float64{"a": 2, "b": 0, "c": 1}, map[string]float64{"a": 3, "b": 1}
	if d := Differences(before, after); len(d) != 2 || d["a"] != 1 || d["b"] != 1 {
		t.Errorf("differences %v", d)
	}
	if r := Ratios(before, after); len(r) != 1 || r["a"] != 1.5 {
		t.Errorf("ratios %v", r)
	}
}

func TestCutMoment(t *testing.T) {
	if got := CutMoment([]time.Time{at(1)}); !got.Equal(at(1)) {
		t.Errorf("one peer: %v", got)
	}
	if got := CutMoment([]time.Time{at(1), at(5), at(900)}); !got.Equal(at(5)) {
		t.Errorf("three peers: %v", got)
	}
}

func TestWorst(t *testing.T) {
	who, took := verdict.Times{"a": time.Second, "b": 3 * time.Second, "c": 2 * time.Second}.Worst()
	if who != "b" || took != 3*time.Second {
		t.Errorf("got %s, %v", who, took)
	}
	who, took = verdict.Times{"a": -time.Second, "b": -2 * time.Second}.Worst()
	if who != "a" || took != -time.Second {
		t.Errorf("before the probe saw it: got %s, %v", who, took)
	}
}

func TestAutoscalersAtRest(t *testing.T) {
	least := int32(3)
	scaler := func(active corev1.ConditionStatus, wants int32) autoscalingv2.HorizontalPodAutoscaler {
		var h autoscalingv2.HorizontalPodAutoscaler
		h.Spec.MinReplicas = &least
		h.Status.DesiredReplicas = wants
		if active != "" {
			h.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{
				{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue}, {Type: autoscalingv2.ScalingActive, Status: active},
			}
		}
		return h
	}
	for name, c := range map[string]struct {
		h    autoscalingv2.HorizontalPodAutoscaler
		want bool
	}{
		"measures, wants its least": {scaler(corev1.ConditionTrue, 3), true},
		"still wants more":          {scaler(corev1.ConditionTrue, 4), false},
		"could not measure":         {scaler(corev1.ConditionFalse, 3), false},
		"has not looked yet":        {scaler("", 0), false},
		"looked at the size only":   {scaler("", 3), false},
	} {
		if got := rests(c.h); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestKindsHelpToSeeWhatIsMissing(t *testing.T) {
	if got := journal.Kinds(journal, at(850)); got != "monitor/session_verified" {
		t.Errorf("got %s", got)
	}
	if got := journal.Kinds(journal, at(2000)); got != "nothing at all" {
		t.Errorf("got %s", got)
	}
}

func TestProfiles(t *testing.T) {
	if _, err := FindProfile("slow"); err == nil || !strings.Contains(err.Error(), "quick, full") {
		t.Errorf("got %v", err)
	}
	for _, p := range Profiles {
		if p.Fault != 0 && p.Fault < AlertFor {
			t.Errorf("profile %s: %v is too short for the alerts", p.Name, p.Fault)
		}
		if got, err := FindProfile(p.Name); err != nil || got != p {
			t.Errorf("%s: got %v, %v", p.Name, got, err)
		}
	}
}

// The full profile takes the document's durations, the quick one shortens
// them, and both leave the rest of the fixture as it is.
func TestProfilesAndTheFixture(t *testing.T) {
	for name, want := range map[string]time.Duration{"full": 60 * time.Second, "quick": 20 * time.Second} {
		p, err := FindProfile(name)
		if err != nil {
			t.Fatal(err)
		}
		o, err := fault.Load(fixtures.FS, "network-partition.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if p.Fault > 0 {
			if err := fault.Shorten(o, p.Fault, AlertFor); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := fault.Duration(o); err != nil || got != want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}
