package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/control"
	"github.com/x0tta6bl4/mesh/e2e/judge/live"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

// scenarios is the registry: every scenario, in the order of their files. From it come the
// labels, the fixtures that are checked before anything is built, what is made ahead, the
// ids that the report knows, `make help`, the nightly matrix and the README's table.
var scenarios []*scenario.Scenario

// describe adds a scenario and its container of specs. Their order is that of the file;
// that nothing is left behind is judged last, in every scenario.
func describe(sc scenario.Scenario, specs func(sc *scenario.Scenario)) bool {
	scenarios = append(scenarios, &sc)
	labels := append([]string{sc.Name}, sc.Labels...)
	return Describe(sc.Title, Ordered, ContinueOnFailure, Label(labels...), func() {
		sc.Criteria = nil // Ginkgo builds the tree for a preview, and again to run it
		AfterEach(note)
		specs(&sc)
		criterion(&sc, "F1", "nothing is left behind: rules, qdiscs, programs, processes, Chaos Mesh objects, namespaces, volumes", "0", scenario.Holds(), func(ctx SpecContext) {
			judgeLeftBehind(ctx, current)
		})
	})
}

// criterion is an It: what one spec judges, by its id, its promise, its bar and what it claims.
func criterion(sc *scenario.Scenario, id, text, bar string, claims scenario.Claims, judge func(ctx SpecContext)) {
	sc.Add(scenario.Criterion{ID: id, Text: text, Bar: bar, Claims: claims})
	It(id+" "+text, Label(id), Offset(1), func(ctx SpecContext) {
		suite.live.Send(live.Event{Kind: live.Judging, Criterion: &live.Criterion{ID: id}})
		defer reportQueries(ctx, time.Now())
		judge(ctx)
	})
}

// reportQueries reports what Prometheus has been asked about the scenario since a time. A
// spec that was given up has no say any more.
func reportQueries(ctx context.Context, since time.Time) {
	if current == nil || ctx.Err() != nil {
		return
	}
	var queries []string
	for _, q := range current.Prom.Asked(current.Mesh.Namespace, since) {
		queries = append(queries, q.String())
	}
	AddReportEntry(report.EntryQueries, queries, ReportEntryVisibilityNever)
}

// list writes the registry as JSON: each scenario's name, the label filter that selects it
// alone, whether it is nightly, whether it must be alone, about how many nanoseconds it takes in
// the quick profile, the ids of its criteria, how many of them the filters select, its fixtures, and
// what the controls have to know of its criteria.
func list(w io.Writer) error {
	type entry struct {
		Name     string        `json:"name"`
		Filter   string        `json:"filter"`
		Nightly  bool          `json:"nightly"`
		Alone    bool          `json:"alone"`
		Takes    time.Duration `json:"takes"`
		Criteria []string      `json:"criteria"`
		Selected int           `json:"selected"`
		Fixtures []string      `json:"fixtures"`
		Controls []control.Row `json:"controls"`
	}
	selected := map[string]int{}
	for _, s := range suite.selected {
		selected[report.ScenarioOf(s)]++
	}
	var all []entry
	for _, sc := range scenarios {
		e := entry{Name: sc.Name, Filter: only(sc), Nightly: sc.Is(scenario.Nightly), Alone: sc.Alone, Takes: sc.Takes, Selected: selected[sc.Name], Fixtures: sc.Fixtures}
		for _, c := range sc.Criteria {
			e.Criteria = append(e.Criteria, c.ID)
		}
		var err error
		if e.Controls, err = controlRows(sc, suite.options.fixtures); err != nil {
			return err
		}
		all = append(all, e)
	}
	return json.NewEncoder(w).Encode(all)
}

// within writes a bar that is a time.
func within(d time.Duration) string { return fmt.Sprintf("≤ %g s", d.Seconds()) }

// cell is what is looked for in one phase of the loop beyond the journal.
type cell struct {
	text string
	// also is asked until it holds; nil: nothing more.
	also func(ctx context.Context) error
}

// loop are the five criteria of a row of the design document's table: each phase by the
// journal, under one incident, and by what its cell names besides.
func loop(sc *scenario.Scenario, expected func() *scenario.Loop, monitor, analyze, plan, execute, knowledge cell) {
	phases := []struct {
		letter string
		cell   cell
		claims scenario.Claims // what -mapek=off leaves on is no healing
		check  func(*scenario.Loop, context.Context) error
	}{
		{"M", monitor, scenario.Reacts(), (*scenario.Loop).Monitored},
		{"A", analyze, scenario.Reacts(), (*scenario.Loop).Analyzed},
		{"P", plan, scenario.Heals(), (*scenario.Loop).Planned},
		{"E", execute, scenario.Heals(), (*scenario.Loop).Executed},
		{"K", knowledge, scenario.Heals(), (*scenario.Loop).Recorded},
	}
	for _, p := range phases {
		criterion(sc, "S"+sc.Design+"."+p.letter, p.cell.text, "yes", p.claims, func(ctx SpecContext) {
			verdict.Holds(ctx, expected().Left(scenario.WaitSettle), func(ctx context.Context) error {
				if err := p.check(expected(), ctx); err != nil || p.cell.also == nil {
					return err
				}
				return p.cell.also(ctx)
			})
		})
	}
}

// diagnosis is the criterion that no other incident opens on any node than the faults of
// the scenario allow.
func diagnosis(sc *scenario.Scenario) {
	criterion(sc, "S"+sc.Design+".X", "no incident but those that the faults call for opens on any node", "0", scenario.Holds(), func(ctx SpecContext) {
		verdict.Must(phase(sc.Name+": tail", func() error { return current.AwaitTails(ctx) }))
		wrong, err := current.Misdiagnoses(ctx)
		verdict.Must(err)
		verdict.None("misdiagnoses", len(wrong), 0, "incidents", wrong)
	})
}
