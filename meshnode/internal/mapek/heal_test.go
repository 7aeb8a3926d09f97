package mapek

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

func TestPlan(t *testing.T) {
	p := DefaultPolicy()
	cases := NewCases("x")
	i := cases.add(&Incident{Type: metric.NetworkPartition})
	i.Subjects["b"], i.Subjects["c"] = &Subject{}, &Subject{Verified: true}
	act := func(name, peer string, attempt int) Action {
		return Action{Name: name, Peer: peer, Incident: i.ID, Type: i.Type, Attempt: attempt, Deadline: time.Duration(p.Actions[name].Deadline)}
	}
	k, err := LoadKnowledge(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		findings []Finding
		failed   []Outcome
		running  []Action
		want     []Action
	}{
		{"opened", []Finding{{Opened, i, []string{"b", "c"}}}, nil, nil, []Action{
			act(metric.ActivateBackupRoutes, "b", 1), act(metric.ActivateBackupRoutes, "c", 1),
			act(metric.MigrateSessions, "b", 1), act(metric.MigrateSessions, "c", 1),
		}},
		{"one more peer", []Finding{{extended, i, []string{"c"}}}, nil, nil, []Action{act(metric.ActivateBackupRoutes, "c", 1), act(metric.MigrateSessions, "c", 1)}},
		{"returned", []Finding{{PeerReturned, i, []string{"b"}}}, nil, nil, []Action{act(metric.ReverifySessions, "b", 1)}},
		{"not twice at a time", []Finding{{PeerReturned, i, []string{"b"}}, {PeerReturned, i, []string{"b"}}}, nil, []Action{act(metric.ReverifySessions, "b", 1)}, nil},
		{"not twice in a plan", []Finding{{PeerReturned, i, []string{"b"}}, {PeerReturned, i, []string{"b"}}}, nil, nil, []Action{act(metric.ReverifySessions, "b", 1)}},
		{"nothing to do when it is over", []Finding{{Over, i, []string{"b"}}}, nil, nil, nil},
		{"retry", nil, []Outcome{{Action: act(metric.ReverifySessions, "b", 1)}}, nil, []Action{act(metric.ReverifySessions, "b", 2)}},
		{"no retry for who is well", nil, []Outcome{{Action: act(metric.ReverifySessions, "c", 1)}}, nil, nil},
		{"no retry for ever", nil, []Outcome{{Action: act(metric.ReverifySessions, "b", p.Actions[metric.ReverifySessions].Attempts)}}, nil, nil},
		{"no retry in another incident", nil, []Outcome{{Action: Action{Name: metric.ReverifySessions, Peer: "b", Incident: "old", Attempt: 1}}}, nil, nil},
	} {
		if got := Plan(t0, p, cases, k, c.findings, c.failed, c.running); !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestPlanPrefersWhatWorked(t *testing.T) {
	p := DefaultPolicy()
	p.Rules = []Rule{{metric.NetworkPartition, Opened, nil, []string{metric.RotateKeys, metric.ReverifySessions}}}
	cases := NewCases("x")
	i := cases.add(&Incident{Type: metric.NetworkPartition})
	k, err := LoadKnowledge([]byte(`{"actions":{"rotate_keys":{"done":1,"failed":9}}}`))
	if err != nil {
		t.Fatal(err)
	}
	got := Plan(t0, p, cases, k, []Finding{{Opened, i, []string{"b"}}}, nil, nil)
	if len(got) != 2 || got[0].Name != metric.ReverifySessions {
		t.Errorf("%+v", got)
	}
}

// hands is an Effector whose effects come when told.
type hands struct {
	started []string
	done    map[string]bool
	refuse  bool
}

func (h *hands) Start(a Action) error {
	if h.refuse {
		return errors.New("no session")
	}
	h.started = append(h.started, a.Peer)
	return nil
}
func (h *hands) Done(a Action) bool { return h.done[a.Peer] }

func TestExecuteBelievesEffectsOnly(t *testing.T) {
	h := &hands{done: map[string]bool{}}
	plan := []Action{{Name: "x", Peer: "b", Deadline: time.Second}, {Name: "x", Peer: "c", Deadline: time.Second}}
	running, ended := Execute(at(0), h, plan, nil)
	if len(running) != 2 || len(ended) != 0 || !slices.Equal(h.started, []string{"b", "c"}) {
		t.Fatalf("running %v, ended %v, started %v", running, ended, h.started)
	}
	h.done["b"] = true
	running, ended = Execute(at(300), h, nil, running)
	if len(running) != 1 || len(ended) != 1 || ended[0].Peer != "b" || ended[0].Err != nil || ended[0].Took != 300*time.Millisecond {
		t.Fatalf("running %v, ended %+v", running, ended)
	}
	running, ended = Execute(at(1000), h, nil, running)
	if len(running) != 0 || len(ended) != 1 || !errors.Is(ended[0].Err, ErrNoEffect) {
		t.Fatalf("running %v, ended %+v", running, ended)
	}
	h.refuse = true
	if running, ended = Execute(at(2000), h, plan[:1], nil); len(running) != 0 || len(ended) != 1 || ended[0].Err == nil {
		t.Fatalf("running %v, ended %+v", running, ended)
	}
}

func TestKnowledgeIsBoundedAndSurvives(t *testing.T) {
	k, err := LoadKnowledge(nil)
	if err != nil {
		t.Fatal(err)
	}
	if k.Learn(t0, DefaultPolicy(), nil, nil) {
		t.Error("learned from nothing")
	}
	for n := range 2 * maxRecords {
		i := &Incident{ID: string(rune('a' + n%26)), Type: metric.NodeCrash, Opened: at(n), Resolved: at(n + 1), Subjects: map[string]*Subject{"b": {}}}
		k.Learn(at(n), DefaultPolicy(), []Finding{{Moment: Over, Incident: i}, {Moment: Opened, Incident: i}}, []Outcome{{Action: Action{Name: "x"}, Err: ErrNoEffect}})
	}
	if len(k.Incidents) != maxRecords || !k.Incidents[maxRecords-1].Opened.Equal(at(2*maxRecords-1)) {
		t.Errorf("%d incidents kept", len(k.Incidents))
	}
	b, err := k.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadKnowledge(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.Actions, map[string]*Tally{"x": {Failed: 2 * maxRecords}}) || len(again.Incidents) != maxRecords {
		t.Errorf("after a restart: %v, %d incidents", again.Actions, len(again.Incidents))
	}
	if _, err := LoadKnowledge([]byte("{")); err == nil {
		t.Error("damaged knowledge accepted")
	}
}

func FuzzKnowledge(f *testing.F) {
	f.Add([]byte(`{"incidents":[{"id":"x"}],"actions":{"a":{"done":1},"b":null}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := LoadKnowledge(b)
		if err != nil {
			return
		}
		if len(k.Incidents) > maxRecords {
			t.Error("unbounded")
		}
		k.order(slices.Collect(maps.Keys(k.Actions)))
	})
}
