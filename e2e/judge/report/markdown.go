package report

import (
	"fmt"
	"html"
	"strings"
	"time"
)

// Markdown is the summary of a run as GitHub and GitLab show it: what did not pass, and
// why, then everything.
func Markdown(s *Summary) string {
	var b strings.Builder
	all := s.Count()
	fmt.Fprintf(&b, "## %s\n\n", s.Headline())
	fmt.Fprintf(&b, "Profile `%s`, MAPE-K %s, %s, %d cores, %.0f GiB, Linux %s.\n\n", s.Profile, s.Mapek,
		time.Duration(s.WallSeconds*float64(time.Second)).Round(time.Second), s.Machine.Cores, float64(s.Machine.Memory)/(1<<30), cell(s.Machine.Kernel))
	b.WriteString("| scenario | passed | failed | aborted | invalid | not supported |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, sc := range s.Scenarios {
		n := sc.Count()
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d |\n", cell(sc.Name), n[Passed], n[Failed], n[Aborted], n[Invalid], n[NotSupported])
	}
	for _, sc := range s.Scenarios {
		if sc.Aborted != nil {
			fmt.Fprintf(&b, "\nScenario %s was aborted: %s\n", cell(sc.Name), cell(sc.Aborted.String()))
		}
	}
	if all[Passed] < total(all) {
		b.WriteString("\n### Not passed\n\n| criterion | scenario | verdict | expected | measured | why |\n| --- | --- | --- | --- | --- | --- |\n")
		for _, sc := range s.Scenarios {
			for _, c := range sc.Criteria {
				if c.Verdict != Passed {
					fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", cell(c.Title()), cell(sc.Name), c.Verdict, cell(c.Wanted()), cell(c.Got()), cell(c.Detail))
				}
			}
		}
	}
	for _, what := range s.Cleanup {
		fmt.Fprintf(&b, "\nCleanup failed: %s\n", cell(what))
	}
	b.WriteString("\n<details><summary>All criteria</summary>\n\n| criterion | scenario | verdict | expected | measured |\n| --- | --- | --- | --- | --- |\n")
	for _, sc := range s.Scenarios {
		for _, c := range sc.Criteria {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", cell(c.Title()), cell(sc.Name), c.Verdict, cell(c.Wanted()), cell(c.Got()))
		}
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

// Headline says in a few words how the run went.
func (s *Summary) Headline() string {
	n := s.Count()
	words := fmt.Sprintf("%d of %d criteria passed", n[Passed], total(n))
	if s.Control != "" {
		words = "CONTROL, no fault was injected, nothing is said of the mesh: " + words
	}
	for _, v := range []Verdict{Failed, Aborted, Invalid, NotSupported} {
		if n[v] > 0 {
			words += fmt.Sprintf(", %d %s", n[v], v)
		}
	}
	if len(s.Cleanup) > 0 {
		words += ", not everything was cleaned up"
	}
	return words
}

// Count is how many criteria have each verdict.
func (s *Summary) Count() map[Verdict]int {
	n := map[Verdict]int{}
	for _, sc := range s.Scenarios {
		for v, k := range sc.Count() {
			n[v] += k
		}
	}
	return n
}

// Count is how many criteria have each verdict.
func (sc Scenario) Count() map[Verdict]int {
	n := map[Verdict]int{}
	for _, c := range sc.Criteria {
		n[c.Verdict]++
	}
	return n
}

func total(n map[Verdict]int) (sum int) {
	for _, k := range n {
		sum += k
	}
	return sum
}

// Wanted is the bar with its unit.
func (c Criterion) Wanted() string { return strings.TrimSpace(c.Expected + " " + c.Unit) }

// Got is what was measured with its unit, or nothing.
func (c Criterion) Got() string {
	if c.Measured == nil {
		return ""
	}
	if c.Expected == "yes" && c.Unit == "" {
		if *c.Measured == 0 {
			return "no"
		}
		return "yes"
	}
	return strings.TrimSpace(value(*c.Measured, c.Never) + " " + c.Unit)
}

// marks are what Markdown would take for its own.
var marks = strings.NewReplacer("\\", "\\\\", "|", `\|`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "~", `\~`)

// cell is text in a cell of a table: of one line, and nothing in it is markup.
func cell(s string) string {
	return marks.Replace(html.EscapeString(strings.Join(strings.Fields(s), " ")))
}
