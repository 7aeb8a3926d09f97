package live

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charm.land/lipgloss/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

var update = flag.Bool("update", false, "write the screens that are kept as test data anew")

// midway is a run in which much happens.
func midway() State {
	s := NewState("x0tta6bl4 self-healing, quick", epoch, "network-partition", "latency", "pqc-corrupt", "node-crash", "fault-free", "pqc-inject")
	tell := func(at float64, scenario string, e Event) {
		e.At, e.Scenario = second(at), scenario
		s = s.After(e)
	}
	criteria := func(ids string) (all []Criterion) {
		for id := range strings.FieldsSeq(ids) {
			all = append(all, Criterion{ID: id, Bar: "yes"})
		}
		return all
	}
	judged := func(id string, v report.Verdict, got, bar string) Event {
		return Event{Kind: Judged, Criterion: &Criterion{id, v, got, bar}}
	}
	tell(60, "node-crash", Event{Kind: Begins, Lane: 1, Criteria: criteria("S3.1 F1")})
	tell(95, "node-crash", judged("S3.1", report.Failed, "31.2 s", "≤ 30 s"))
	tell(99, "node-crash", judged("F1", report.Passed, "0", "0"))
	tell(100, "node-crash", Event{Kind: Ends, Text: "did not pass after 40s"})
	tell(101, "network-partition", Event{Kind: Begins, Lane: 1, Criteria: criteria("S1.2 S1.1 S1.4 S1.3 S1.M S1.A S1.P S1.E S1.K S1.5 A2 D1 S1.X F1")})
	tell(102, "pqc-corrupt", Event{Kind: Begins, Lane: 2, Criteria: criteria("S2.1 S2.3 F1")})
	tell(103, "pqc-corrupt", Event{Kind: Ends, Text: "did not pass after 1s"})
	tell(104, "latency", Event{Kind: Begins, Lane: 2, Criteria: criteria("S4.1 S4.2 F1")})
	tell(105, "latency", Event{Kind: Step, Text: "mesh"})
	tell(110, "network-partition", Event{Kind: Applied, Fault: "mesh-network-partition", Until: second(140)})
	tell(112, "network-partition", Event{Kind: Proven, Fault: "mesh-network-partition"})
	tell(113, "network-partition", Event{Kind: Traffic, Traffic: &Rates{12.4, 0.5}})
	for _, n := range []string{"mesh-node-a-0", "mesh-node-b-0"} {
		tell(114, "network-partition", Event{Kind: Opened, Incident: &Incident{n, "network_partition"}})
	}
	tell(115, "network-partition", judged("S1.2", report.Passed, "1.15 s", "≤ 3 s"))
	tell(116, "network-partition", judged("S1.1", report.Invalid, "", "≤ 2 s"))
	tell(117, "network-partition", Event{Kind: Judging, Criterion: &Criterion{ID: "S1.4"}})
	return s
}

// TestScreen holds screens against those that are kept, and were seen by a person.
func TestScreen(t *testing.T) {
	for _, width := range []int{80, 200} {
		for _, colour := range []bool{false, true} {
			name := fmt.Sprintf("%d", width)
			if colour {
				name += "-colour"
			}
			got := Screen(midway(), second(120), width, 24, NewTheme(colour))
			if escaped := strings.Contains(got, "\x1b"); escaped != colour {
				t.Errorf("%s: escape sequences: %t", name, escaped)
			}
			path := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got+"\n" != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
			}
		}
	}
}

// TestScreenFits sees that no size of a terminal makes a screen that is larger, and that
// each busy lane is on it where there is any room.
func TestScreenFits(t *testing.T) {
	s := midway()
	for _, height := range []int{1, 2, 5, 10, 24, 60} {
		for _, width := range []int{1, 2, 9, 25, 26, 27, 79, 80, 200, 500} {
			rows := strings.Split(Screen(s, second(120), width, height, NewTheme(true)), "\n")
			if len(rows) > height {
				t.Errorf("%d×%d: %d rows", width, height, len(rows))
			}
			for _, r := range rows {
				if n := lipgloss.Width(r); n > width {
					t.Errorf("%d×%d: a row of %d: %q", width, height, n, r)
				}
			}
			text := strings.Join(rows, "\n")
			if height >= 10 && width >= 79 && !(strings.Contains(text, "lane 1") && strings.Contains(text, "lane 2")) {
				t.Errorf("%d×%d: a lane is missing:\n%s", width, height, text)
			}
		}
	}
	if got := Screen(State{}, epoch, 0, 0, NewTheme(true)); got != "" {
		t.Errorf("a screen without room: %q", got)
	}
}

// TestTooManyCriteria sees that those that passed give way first, and that nothing that is
// left out goes uncounted.
func TestTooManyCriteria(t *testing.T) {
	sc := Scenario{Name: "a", Lane: 1}
	for i := range 30 {
		c := Criterion{ID: fmt.Sprintf("C%d", i)}
		if i < 10 {
			c.Verdict = report.Passed
		}
		sc.Criteria = append(sc.Criteria, c)
	}
	sc.Criteria[3].Verdict = report.Failed
	got := strings.Join(sc.criteria(80, 3, NewTheme(false)), "\n")
	for _, want := range []string{"✓ 9 passed", "✗ C3", "14 more"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if whole := strings.Join(sc.criteria(80, 10, NewTheme(false)), "\n"); strings.Contains(whole, "more") || !strings.Contains(whole, "✓ C9") {
		t.Errorf("there is room for all:\n%s", whole)
	}
}

// TestWorst: one criterion that is not passed is what a scenario shows, whichever verdict
// it has, and each verdict has a mark of its own.
func TestWorst(t *testing.T) {
	marks := map[string]bool{mark(""): true}
	for _, v := range verdicts {
		sc := Scenario{Criteria: []Criterion{{Verdict: report.Passed}, {Verdict: v}}}
		want := v
		if v == report.NotSupported {
			want = report.Passed // what cannot be judged here takes nothing from the rest
		}
		if got := sc.worst(); got != want {
			t.Errorf("passed and %s is shown as %s, want %s", v, got, want)
		}
		if marks[mark(v)] {
			t.Errorf("%s has another's mark", v)
		}
		marks[mark(v)] = true
	}
}
