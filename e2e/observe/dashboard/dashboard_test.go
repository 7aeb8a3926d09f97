package dashboard

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/manifests"
)

func load(t *testing.T) *board {
	t.Helper()
	b, err := parse(manifests.Dashboard)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPanels(t *testing.T) {
	b := load(t)
	if b.Title == "" || b.UID == "" || b.SchemaVersion == 0 {
		t.Errorf("title %q, uid %q, schema %d", b.Title, b.UID, b.SchemaVersion)
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	taken := map[[2]int]string{} // cells of the grid
	for _, p := range b.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" || titles[p.Title] {
			t.Errorf("panel %d %q: its id or title is missing or not its own", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		g := p.GridPos
		if g.H < 1 || g.W < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
			t.Errorf("panel %q is off the grid: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("panels %q and %q overlap", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			if p.Collapsed || len(p.Panels) > 0 || len(p.Targets) > 0 {
				t.Errorf("row %q holds panels or queries, which are not read here", p.Title)
			}
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || p.Interval != "1s" {
			t.Errorf("panel %q: has no description, no query, or not the interval of the scrapes", p.Title)
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if q.RefID == "" || refs[q.RefID] || q.Expr == "" || q.LegendFormat == "" || q.Range == q.Instant {
				t.Errorf("panel %q: query %+v", p.Title, q)
			}
			refs[q.RefID] = true
		}
	}
}

// TestVariables sees that nothing is tied to one Grafana or one mesh.
func TestVariables(t *testing.T) {
	b := load(t)
	kinds := map[string]string{}
	for _, v := range b.Templating.List {
		kinds[v.Name] = v.Type
	}
	if len(kinds) != 2 || kinds["datasource"] != "datasource" || kinds["namespace"] != "query" {
		t.Errorf("variables %v", kinds)
	}
	want := source{Type: "prometheus", UID: "${datasource}"}
	check := func(what string, s source) {
		if s != want {
			t.Errorf("%s has the data source %+v", what, s)
		}
	}
	for _, v := range b.Templating.List {
		if v.Type == "query" {
			check(v.Name, v.Datasource)
			var q struct{ Query, RefID string }
			if err := json.Unmarshal(v.Query, &q); err != nil || q.Query != v.Definition {
				t.Errorf("variable %s: query %s, definition %q", v.Name, v.Query, v.Definition)
			}
		}
	}
	selector := regexp.MustCompile(`\w+\{[^}]*\}`)
	scoped := func(what, expr string) {
		found := selector.FindAllString(expr, -1)
		for _, s := range found {
			if !strings.Contains(s, `namespace="$namespace"`) {
				t.Errorf("%s: %s looks at every namespace", what, s)
			}
		}
		if len(found) == 0 {
			t.Errorf("%s: %s selects nothing", what, expr)
		}
	}
	for _, a := range b.Annotations.List {
		check(a.Name, a.Datasource)
		scoped(a.Name, a.Expr)
	}
	for _, p := range b.Panels {
		if p.Type == "row" {
			continue
		}
		check(p.Title, p.Datasource)
		for _, q := range p.Targets {
			check(p.Title, q.Datasource)
			scoped(p.Title, q.Expr)
		}
	}
}

func TestReplace(t *testing.T) {
	values := map[string]string{"namespace": "ns", "__rate_interval": "15s"}
	got, err := replace(`rate(m{namespace="$namespace",x="${namespace}"}[$__rate_interval])`, values)
	if want := `rate(m{namespace="ns",x="ns"}[15s])`; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if got, err := replace("m[$__range]", values); err == nil || !strings.Contains(err.Error(), "__range") {
		t.Errorf("an unknown variable: %s, %v", got, err)
	}
}

func TestParseIsStrict(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":           `{"title": }`,
		"a misspelt field":  `{"titel": "x"}`,
		"deep":              `{"panels": [{"targets": [{"exp": "up"}]}]}`,
		"two of them":       `{"title": "a"} {"title": "b"}`,
		"an empty document": ``,
	} {
		if _, err := parse([]byte(text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestQueriesNeedsANamespace(t *testing.T) {
	for _, ns := range []string{"", `a"b`, "A", "a.b"} {
		if _, err := Queries(ns); err == nil {
			t.Errorf("%q was accepted", ns)
		}
	}
}

func TestBlank(t *testing.T) {
	pods := []string{"a", "b"}
	for name, c := range map[string]struct {
		numbers map[string]bool
		want    string
	}{
		"no answer":              {nil, "no numbers"},
		"every pod":              {map[string]bool{"a": true, "b": true}, ""},
		"one pod is missing":     {map[string]bool{"a": true}, "no numbers of b"},
		"only others":            {map[string]bool{"c": true}, "no numbers of a, b"},
		"pods added up":          {map[string]bool{"": true}, ""},
		"a pod without a number": {map[string]bool{"a": true, "b": false}, "no numbers of b"},
	} {
		if got := Blank(c.numbers, pods); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
