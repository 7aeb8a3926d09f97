package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

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

// acted is an entry of Execute.
func acted(ms int, action, peer, outcome string) event.Entry {
	return event.Entry{
		Time: at(ms), Phase: event.Execute, Kind: action, Subject: peer, Detail: map[string]string{event.DetailOutcome: outcome},
	}
}

// A rotation counts only if it began after the last cause for one, and is done.
func TestRotation(t *testing.T) {
	bad := func(ms int, peer string) event.Entry {
		return event.Entry{Time: at(ms), Phase: event.Monitor, Kind: event.SessionFailed, Subject: peer}
	}
	invalidated := func(ms int) event.Entry { return acted(ms, metric.InvalidateSession, "b", metric.OutcomeDone) }
	rotation := func(ms int, outcome string) event.Entry { return acted(ms, metric.RotateKeys, "b", outcome) }
	for name, c := range map[string]struct {
		entries []event.Entry
		want    int // ms
		err     string
	}{
		"after the last invalidation": {[]event.Entry{bad(100, "b"), invalidated(200), rotation(210, "started"), rotation(300, "done")}, 300, ""},
		"before the last invalidation": {[]event.Entry{bad(100, "b"), rotation(110, "started"), rotation(190, "done"), invalidated(200)},
			0, "no rotation of the keys with b began after invalidate_session"},
		"before the last bad signature": {[]event.Entry{invalidated(100), rotation(110, "started"), rotation(190, "done"), bad(200, "b")},
			0, "no rotation of the keys with b began after session_failed"},
		"begun before it and done after": {[]event.Entry{bad(100, "b"), rotation(110, "started"), invalidated(200), rotation(300, "done")},
			0, "no rotation"},
		"started, and not done":   {[]event.Entry{invalidated(100), rotation(110, "started")}, 0, "is not done"},
		"started, and failed":     {[]event.Entry{invalidated(100), rotation(110, "started"), rotation(200, "failed")}, 0, "is not done"},
		"the second attempt":      {[]event.Entry{invalidated(100), rotation(110, "started"), rotation(120, "failed"), rotation(130, "started"), rotation(200, "done")}, 200, ""},
		"of another peer":         {[]event.Entry{invalidated(100), acted(110, metric.RotateKeys, "c", "started"), acted(120, metric.RotateKeys, "c", "done")}, 0, "no rotation"},
		"nothing called for one":  {[]event.Entry{bad(100, "c"), rotation(110, "started"), rotation(200, "done")}, 0, "nothing called for new keys"},
		"others' causes are none": {[]event.Entry{invalidated(100), rotation(110, "started"), rotation(200, "done"), bad(300, "c")}, 200, ""},
	} {
		since, got, err := Rotation(c.entries, "b")
		if err == nil && !since.Before(got) {
			t.Errorf("%s: caused at %v, done at %v", name, since, got)
		}
		if c.err == "" && (err != nil || !got.Equal(at(c.want))) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %v, %v, want %d ms, %q", name, got, err, c.want, c.err)
		}
	}
}

// New keys that come before the attacker's last word, and after the last signature that it spoilt, are the reaction to that.
func TestRotatedBeforeTheAttackersLastWord(t *testing.T) {
	r := kept(t, map[string][]event.Entry{"a": {
		{Time: at(100), Phase: event.Monitor, Kind: event.SessionFailed, Subject: "b"},
		acted(110, metric.RotateKeys, "b", "started"), acted(300, metric.RotateKeys, "b", "done"),
	}})
	for end, want := range map[int]time.Duration{200: 100 * time.Millisecond, 500: 200 * time.Millisecond} {
		a := &Attack{Suspect: "b", Seers: []string{"a"}, Episode: &Episode{run: r, Absent: true, Window: prom.Window{End: at(end)}}}
		if took, err := a.Rotated(t.Context()); err != nil || took["a"] != want {
			t.Errorf("an attack until %d ms: %v, %v, want %v", end, took, err, want)
		}
	}
}

func TestMomentary(t *testing.T) {
	for name, c := range map[string]struct {
		o    fault.Object
		want bool
	}{
		"a kill":      {&v1alpha1.PodChaos{Spec: v1alpha1.PodChaosSpec{Action: v1alpha1.PodKillAction}}, true},
		"a failure":   {&v1alpha1.PodChaos{Spec: v1alpha1.PodChaosSpec{Action: v1alpha1.PodFailureAction}}, false},
		"a partition": {&v1alpha1.NetworkChaos{}, false},
		"a program":   {&batchv1.Job{}, true},
	} {
		if got := momentary(c.o); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestReplaced(t *testing.T) {
	before := map[string]string{"a→b": "1", "b→a": "1"}
	for name, c := range map[string]struct {
		before, after map[string]string
		want          report.Verdict
	}{
		"another at both ends":     {before, map[string]string{"a→b": "2", "b→a": "2"}, report.Passed},
		"the same":                 {before, before, report.Failed},
		"another at one end alone": {before, map[string]string{"a→b": "2", "b→a": "1"}, report.Failed},
		"each end its own":         {before, map[string]string{"a→b": "2", "b→a": "3"}, report.Failed},
		"none now":                 {before, map[string]string{"a→b": "2", "b→a": ""}, report.Failed},
		"an end that says nothing": {before, map[string]string{"a→b": "2"}, report.Failed},
		"nothing known before":     {nil, before, report.Invalid},
	} {
		if err := Replaced(c.before, c.after); verdict.Of(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestKept(t *testing.T) {
	before := map[string]string{"a→b": "1", "b→a": "1", "a→c": "2"}
	changed := map[string]string{"a→b": "1", "b→a": "9", "a→c": ""}
	if err := Kept(before, before); err != nil {
		t.Error(err)
	}
	if err := Kept(before, changed); verdict.Of(err) != report.Failed || !strings.Contains(err.Error(), "a→c, b→a") {
		t.Errorf("others than before: %v", err)
	}
	if err := Kept(map[string]string{"a→b": ""}, before); verdict.Of(err) != report.Invalid {
		t.Errorf("one that was not known: %v", err)
	}
	if err := Kept(nil, nil); verdict.Of(err) != report.Invalid {
		t.Errorf("none that was known: %v", err)
	}
}

func TestHarmed(t *testing.T) {
	entries := []event.Entry{
		acted(1, metric.InvalidateSession, "b", "done"), acted(2, metric.RotateKeys, "b", "started"), acted(3, metric.BlockPeer, "b", "done"),
		acted(4, metric.ReverifySessions, "c", "done"), acted(5, metric.ActivateBackupRoutes, "c", "done"),
		{Time: at(6), Phase: event.Plan, Kind: metric.InvalidateSession, Subject: "c"}, // planned, not done
	}
	if got := harmed("a", "b", entries); len(got) != 0 {
		t.Errorf("what befell the suspect, or is no harm: %v", got)
	}
	for _, action := range []string{metric.InvalidateSession, metric.RotateKeys, metric.BlockPeer} {
		harm := []event.Entry{acted(7, action, "c", "started")}
		if got := harmed("a", "b", harm); len(got) != 1 || got[0] != "a→c: "+action {
			t.Errorf("%s of another: %v", action, got)
		}
		if got := harmed("b", "b", harm); len(got) != 0 {
			t.Errorf("%s by the suspect itself: %v", action, got)
		}
		// Under a forger who is nobody of the mesh, every node's session is another's.
		if got := harmed("a", "", harm); len(got) != 1 {
			t.Errorf("%s under a forger: %v", action, got)
		}
	}
}
