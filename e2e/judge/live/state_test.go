package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func second(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }

func TestAfter(t *testing.T) {
	fresh := func() State { return NewState("suite", epoch, "a", "b") }
	running := func(change func(*Scenario)) Scenario {
		sc := Scenario{Name: "a", Lane: 2, Began: second(1), Criteria: []Criterion{{ID: "S1.1", Bar: "≤ 2 s"}, {ID: "F1", Bar: "0"}}}
		change(&sc)
		return sc
	}
	begins := Event{Kind: Begins, At: second(1), Lane: 2, Criteria: []Criterion{{ID: "S1.1", Bar: "≤ 2 s"}, {ID: "F1", Bar: "0"}}}
	passed := Criterion{ID: "S1.1", Verdict: report.Passed, Got: "1.2 s", Bar: "≤ 2 s"}
	incident := Incident{"mesh-node-a-0", "node_crash"}
	for name, tc := range map[string]struct {
		events []Event
		want   Scenario
	}{
		"begins": {[]Event{begins}, running(func(*Scenario) {})},
		"a step": {[]Event{begins, {Kind: Step, Text: "mesh"}}, running(func(sc *Scenario) { sc.Step = "mesh" })},
		"a fault": {[]Event{begins, {Kind: Applied, Fault: "cut", Until: second(20)}},
			running(func(sc *Scenario) { sc.Faults = []Fault{{Name: "cut", Until: second(20)}} })},
		"a fault that bites": {[]Event{begins, {Kind: Applied, Fault: "cut"}, {Kind: Applied, Fault: "slow"}, {Kind: Proven, Fault: "cut"}},
			running(func(sc *Scenario) { sc.Faults = []Fault{{Name: "cut", Proven: true}, {Name: "slow"}} })},
		"one of two is over": {[]Event{begins, {Kind: Applied, Fault: "cut"}, {Kind: Applied, Fault: "slow"}, {Kind: Healed, Fault: "cut"}},
			running(func(sc *Scenario) { sc.Faults = []Fault{{Name: "slow"}} })},
		"over before it was there": {[]Event{begins, {Kind: Healed, Fault: "cut"}, {Kind: Proven, Fault: "cut"}},
			running(func(*Scenario) {})},
		"judging": {[]Event{begins, {Kind: Judging, Criterion: &Criterion{ID: "S1.1"}}},
			running(func(sc *Scenario) { sc.Judging, sc.Step = "S1.1", "judge S1.1" })},
		"judged": {[]Event{begins, {Kind: Judging, Criterion: &Criterion{ID: "S1.1"}}, {Kind: Judged, Criterion: &passed}},
			running(func(sc *Scenario) { sc.Step, sc.Criteria[0] = "judge S1.1", passed })},
		"a criterion that nobody announced": {[]Event{begins, {Kind: Judged, Criterion: &Criterion{ID: "X9"}}},
			running(func(sc *Scenario) { sc.Criteria = append(sc.Criteria, Criterion{ID: "X9"}) })},
		"traffic": {[]Event{begins, {Kind: Traffic, Traffic: &Rates{5, 1}}}, running(func(sc *Scenario) { sc.Traffic = &Rates{5, 1} })},
		"an incident, told twice": {[]Event{begins, {Kind: Opened, Incident: &incident}, {Kind: Opened, Incident: &incident}},
			running(func(sc *Scenario) { sc.Incidents = []Incident{incident} })},
		"an incident is over": {[]Event{begins, {Kind: Opened, Incident: &incident}, {Kind: Closed, Incident: &incident}},
			running(func(sc *Scenario) { sc.Incidents = []Incident{} })},
		"aborted":       {[]Event{begins, {Kind: Aborted, Text: "x is 1"}}, running(func(sc *Scenario) { sc.Aborted = "x is 1" })},
		"ends":          {[]Event{begins, {Kind: Applied, Fault: "cut"}, {Kind: Opened, Incident: &incident}, {Kind: Step, Text: "x"}, {Kind: Ends, At: second(9)}}, running(func(sc *Scenario) { sc.Lane, sc.Ended = 0, second(9) })},
		"unknown":       {[]Event{begins, {Kind: "frobs", Text: "x"}}, running(func(*Scenario) {})},
		"lacks a field": {[]Event{begins, {Kind: Judging}, {Kind: Judged}, {Kind: Opened}, {Kind: Closed}, {Kind: Traffic}, {Kind: Applied, Fault: ""}, {Kind: Healed}}, running(func(sc *Scenario) { sc.Faults = []Fault{} })},
	} {
		s := fresh()
		for _, e := range tc.events {
			before, _ := json.Marshal(s)
			e.Scenario = "a"
			next := s.After(e)
			if after, _ := json.Marshal(s); !bytes.Equal(before, after) {
				t.Errorf("%s: %s changes the state that was before it", name, e.Kind)
			}
			s = next
		}
		if !reflect.DeepEqual(s.Scenarios[0], tc.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, s.Scenarios[0], tc.want)
		}
		if !reflect.DeepEqual(s.Scenarios[1], Scenario{Name: "b"}) {
			t.Errorf("%s: another scenario is %+v", name, s.Scenarios[1])
		}
		stranger := tc.events[len(tc.events)-1]
		stranger.Scenario = "nobody"
		if got := fresh().After(stranger); !reflect.DeepEqual(got.Scenarios, fresh().Scenarios) {
			t.Errorf("%s: of a scenario that there is not: %+v", name, got.Scenarios)
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	s := NewState("suite", epoch, "a")
	for range maxLog + 10 {
		s = s.After(Event{Kind: Said, At: second(1), Text: "x"})
	}
	s = s.After(Event{Kind: Said, At: second(2), Text: "last"})
	if len(s.Log) != maxLog || s.Log[maxLog-1] != " 0:02  last" {
		t.Errorf("%d lines, the last is %q", len(s.Log), s.Log[len(s.Log)-1])
	}
}

func TestLine(t *testing.T) {
	incident := &Incident{"mesh-node-a-0", "node_crash"}
	for want, e := range map[string]Event{
		" 1:05  a begins":                              {Kind: Begins, Lane: 2},
		" 1:05  a: inject x":                           {Kind: Step, Text: "inject x"},
		" 1:05  a: cut bites":                          {Kind: Proven, Fault: "cut"},
		" 1:05  a: cut is over":                        {Kind: Healed, Fault: "cut"},
		" 1:05  a: S1.1 passed 1.2 s (≤ 2 s)":          {Kind: Judged, Criterion: &Criterion{ID: "S1.1", Verdict: report.Passed, Got: "1.2 s", Bar: "≤ 2 s"}},
		" 1:05  a: S1.M passed yes":                    {Kind: Judged, Criterion: &Criterion{ID: "S1.M", Verdict: report.Passed, Got: "yes", Bar: "yes"}},
		" 1:05  a: S1.M failed no (yes)":               {Kind: Judged, Criterion: &Criterion{ID: "S1.M", Verdict: report.Failed, Got: "no", Bar: "yes"}},
		" 1:05  a: F1 invalid 0":                       {Kind: Judged, Criterion: &Criterion{ID: "F1", Verdict: report.Invalid, Bar: "0"}},
		" 1:05  a: node_crash opened on mesh-node-a-0": {Kind: Opened, Incident: incident},
		" 1:05  a: node_crash closed on mesh-node-a-0": {Kind: Closed, Incident: incident},
		" 1:05  a: aborted: x is 1":                    {Kind: Aborted, Text: "x is 1"},
		" 1:05  a passed after 1m0s":                   {Kind: Ends, Text: "passed after 1m0s"},
		" 1:05  a: of two lines":                       {Kind: Said, Text: "of two\nlines"},
	} {
		e.Scenario, e.At = "a", second(65)
		if got := Line(epoch, e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, e := range []Event{{Kind: Traffic}, {Kind: Judging}, {Kind: Applied}, {Kind: "frobs", Text: "x"}, {Kind: Judged}, {Kind: Opened}} {
		e.Scenario = "a"
		if got := Line(epoch, e); got != "" {
			t.Errorf("%s is a line: %q", e.Kind, got)
		}
	}
}

func TestSendAndRead(t *testing.T) {
	var wire bytes.Buffer
	s := NewSender(&wire, "a")
	s.Send(Event{Kind: Step, Text: "one"})
	(*Sender)(nil).Send(Event{Kind: Step}) // nobody is told, and nothing happens
	wire.WriteString("no JSON\n{}\n[1]\n" + strings.Repeat("x", 3*maxLine) + "\n\n")
	s.Send(Event{Kind: "unknown to the reader", Text: "two"})
	s.Send(Event{Kind: Step, Text: "three"})
	wire.WriteString(`{"kind":"step","text":"cut o`) // it died there
	var got []string
	Read(&wire, func(e Event) {
		if e.Scenario != "a" || e.At.IsZero() {
			t.Errorf("%+v does not say of what and when it tells", e)
		}
		got = append(got, e.Text)
	})
	if want := []string{"one", "two", "three"}; !reflect.DeepEqual(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	NewSender(deaf{}, "a").Send(Event{Kind: Step}) // neither does one that cannot be told
}

type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, errors.New("nobody reads") }

func TestCriterionOf(t *testing.T) {
	value := 1.25
	for want, c := range map[Criterion]report.Criterion{
		{"S1", report.Passed, "1.25 s", "≤ 2 s"}: {ID: "S1", Verdict: report.Passed, Expected: "≤ 2", Measured: &value, Unit: "s"},
		{"S1", report.Invalid, "", "its own"}:    {ID: "S1", Verdict: report.Invalid},
	} {
		if got := CriterionOf(c, "its own"); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}
