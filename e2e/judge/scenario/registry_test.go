package scenario

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	one := Criterion{ID: "S1.1", Text: "it holds", Bar: "yes", Claims: Holds()}
	undeclared, half := one, one
	undeclared.Claims = Claims{}
	half.Claims = Claims{Reacts: true, Heals: true} // by whoever does not know of the four
	with := func(name string, criteria ...Criterion) *Scenario { return &Scenario{Name: name, Criteria: criteria} }
	for name, c := range map[string]struct {
		all  []*Scenario
		want string // empty: nothing is wrong
	}{
		"two":                          {[]*Scenario{with("a", one), with("a-b", one, Criterion{ID: "S1.M", Text: "x", Claims: Heals()}, Criterion{ID: "A0", Text: "x", Claims: Upholds().Because("y")})}, ""},
		"no name":                      {[]*Scenario{with("", one)}, `scenario "": a name is of`},
		"a name that is no label":      {[]*Scenario{with("Node_Crash", one)}, `scenario "Node_Crash": a name is of`},
		"a name that ends in a hyphen": {[]*Scenario{with("a-", one)}, "a name is of"},
		"a name twice":                 {[]*Scenario{with("a", one), with("a", one)}, "scenario a: the name is taken"},
		"no criterion":                 {[]*Scenario{with("a")}, "scenario a: no criterion"},
		"no id":                        {[]*Scenario{with("a", Criterion{Text: "x"})}, `scenario a: "" is no id`},
		"an id of a wrong form":        {[]*Scenario{with("a", Criterion{ID: "S1.", Text: "x"})}, `"S1." is no id`},
		"an id twice":                  {[]*Scenario{with("a", one, one)}, "scenario a: the id S1.1 is taken"},
		"no words":                     {[]*Scenario{with("a", Criterion{ID: "S1.1"})}, "criterion S1.1 says nothing"},
		"no claim":                     {[]*Scenario{with("a", undeclared)}, "criterion S1.1 does not say what it claims"},
		"claims that are none of four": {[]*Scenario{with("a", half)}, "criterion S1.1 does not say what it claims"},
	} {
		err := Check(c.all)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestTables(t *testing.T) {
	all := []*Scenario{
		{Name: "a", Title: "one", Criteria: []Criterion{{"S1.1", "it holds", "≤ 2 s", Holds()}, {"F1", "nothing is left", "0", Holds()}}},
		{Name: "b", Title: "two", Labels: []string{Nightly}, Criteria: []Criterion{{"R1", "x", "yes", Reacts()}}},
	}
	got := Index(all)
	want := `| scenario | what it is | criteria |
| --- | --- | --- |
| ` + "`a`" + ` | one | 2 |

These run at night, or when they are named:
` + "`b`.\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got = Table(all)
	want = `| scenario | id | proves | bar |
| --- | --- | --- | --- |
| ` + "`a`" + ` | S1.1 | it holds | ≤ 2 s |
|  | F1 | nothing is left | 0 |
| ` + "`b`" + ` (nightly) | R1 | x | yes |
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
