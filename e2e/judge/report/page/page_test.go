package page

import (
	"cmp"
	"encoding/xml"
	"errors"
	"html"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"
	"gonum.org/v1/plot/plotter"

	"github.com/x0tta6bl4/mesh/e2e/control"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// scenariosOfARun are more than a full run has.
const scenariosOfARun = 12

// mostBytes is a size to send.
const mostBytes = 2 << 20

func TestOneFileOfASizeToSend(t *testing.T) {
	dir, _ := made(t, t.TempDir(), "run", scenariosOfARun)
	p := written(t, dir)
	if len(p) > mostBytes {
		t.Errorf("%d bytes, at most %d", len(p), mostBytes)
	}
	t.Logf("%d bytes", len(p))
	for _, fetched := range []string{`<(script|link|img|iframe|object)`, `<[^<>]*\s(src|xlink:href)=`, `url\(`, `@import`, `href="[^#]`} {
		if found := regexp.MustCompile(fetched).FindString(p); found != "" {
			t.Errorf("the page has %.100q", found)
		}
	}
}

// What the report is for: each thing that has to be in it, as a reader finds it.
func TestWhatIsInIt(t *testing.T) {
	project := t.TempDir()
	root := filepath.Join(project, "artifacts")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := (control.Score{Commit: "abc", Whole: true, Results: []control.Result{{Unsound: "passed"}, {}}}).Keep(project); err != nil {
		t.Fatal(err)
	}
	for i, of := range []struct {
		name, mapek string
		ago         time.Duration
		verdict     report.Verdict
	}{{"older", "on", 2 * time.Hour, report.Failed}, {"control", "off", time.Hour, report.Failed}, {"later", "on", -time.Hour, report.Passed}} {
		s := &report.Summary{Version: report.Version, Profile: "full", Mapek: of.mapek, Started: epoch.Add(-of.ago), Scenarios: []report.Scenario{{Name: "scenario-0",
			Criteria: []report.Criterion{{ID: "S1.1", Verdict: of.verdict, Expected: "≤ 2", Measured: ref(7.5 + float64(i)), Unit: "s", Started: ref(epoch.Add(-of.ago))}}}}}
		if err := os.Mkdir(filepath.Join(root, of.name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := report.Write(filepath.Join(root, of.name), s, types.Report{}); err != nil {
			t.Fatal(err)
		}
	}
	dir, _ := made(t, root, "run", 1)
	p := html.UnescapeString(written(t, dir))
	for what, want := range map[string]string{
		"the verdict of the whole":        "9 of 12 criteria passed, 1 failed, 1 invalid, 1 not supported",
		"the machine":                     "2 cores, 24 GiB, Linux 6.1",
		"versions":                        "docker.io/prom/prometheus:v3.10.0",
		"the score of the controls":       "The last controls: 1 of 2 criteria and cells are as they must be, at commit abc. In the last run with the loop off, of 2029-12-31 23:00:00, in which nothing heals: 1 failed.",
		"the fault":                       "mesh-network-partition from +0.0 s to +62.0 s in mesh-node-b-0, mesh-node-b-1, injected at +1.0 s, proven at +2.0 s, recovered at +61.0 s",
		"incidents by phase per node":     "mesh-node-a-0 6 entries, mesh-node-a-1 6 entries",
		"clients":                         "1285 at once, 214 after a retry, 1 failed",
		"the outside view":                "at most 5 at once",
		"a metric of a criterion":         "x0tta6bl4_counted_1_total",
		"the bar in its chart":            "x0tta6bl4_counted_0_total; bar (long dashes) S1.5: ≥ 6<",
		"the times against their bars":    "S1.1 took 0.5 s of 2 s, S1.2 took 3.25 s of 2 s",
		"expected":                        "<dd>≤ 2 s</dd>",
		"measured":                        "<dd>0.5 s</dd>",
		"the margin":                      "75 % of the bar to spare",
		"the margin of a failure":         "62 % of the bar beyond it",
		"what an earlier run found":       `<span class="verdict failed">failed</span> 7.5 s (2029-12-31 22:00)`,
		"the query":                       `x0tta6bl4_mapek_anomalies_detected{namespace="x-0",type="network_partition"}[342000ms] @ 1795768697.696`,
		"what was observed instead":       "mesh-node-b-0 took 3.25s, at most 2s is allowed",
		"the journal around a failure":    "+2.200 s mesh-node-a-0 analyze network_partition peers=mesh-node-a-1 (mesh-node-a-0-1)",
		"the command that runs it again":  `make e2e PROFILE=full ARGS="-ginkgo.label-filter='scenario-0 && S1.2'"`,
		"an incident":                     "<td>network_partition</td><td>mesh-node-a-1</td><td>62.8 s</td>",
		"the axis":                        "seconds since the fault was applied",
		"a unit":                          "operations / s",
		"the words of a chart for no eye": `role="img" aria-label="Client operations`,
	} {
		if !strings.Contains(p, want) {
			t.Errorf("%s is not in the report: %q", what, want)
		}
	}
	for what, not := range map[string]string{"a later run": "9.5 s", "a control among the runs like it": "8.5 s"} {
		if strings.Contains(p, not) {
			t.Errorf("%s is in the history: %q", what, not)
		}
	}
	if n := strings.Count(p, "The journal around it"); n != 2 {
		t.Errorf("a journal is around %d criteria, and 2 did not pass", n)
	}
}

// Where every criterion fails and the journals are long, each has its share of what the page has room for.
func TestLongJournals(t *testing.T) {
	dir, s := made(t, t.TempDir(), "run", 10) // a full run has eight
	criteria := 0
	for i := range s.Scenarios {
		sc := &s.Scenarios[i]
		for k := range sc.Criteria {
			sc.Criteria[k].Verdict = report.Failed
			criteria++
		}
		var entries []any
		for k := range 200 {
			entries = append(entries, event.Entry{Seq: uint64(k + 1), Time: second(62 + float64(k)/100), Node: nodes[0], Incident: nodes[0] + "-1", Phase: event.Monitor,
				Kind: "network_partition", Detail: map[string]string{event.DetailPeers: nodes[1]}})
		}
		jsonLines(t, filepath.Join(dir, sc.Name, "journal", nodes[0]+".jsonl"), entries)
	}
	if err := report.Write(dir, s, types.Report{}); err != nil {
		t.Fatal(err)
	}
	p := written(t, dir)
	if len(p) > mostBytes {
		t.Errorf("%d bytes, at most %d", len(p), mostBytes)
	}
	entries, notes := strings.Count(p, " (mesh-node-"), strings.Count(p, "entries before these are in journal/")
	if notes != criteria || entries < criteria || entries+notes > mostLines {
		t.Errorf("%d criteria have %d entries, and %d say what was cut: at most %d lines in all", criteria, entries, notes, mostLines)
	}
}

// What others wrote stays text.
func TestNothingIsMarkupButOurs(t *testing.T) {
	dir, _ := made(t, t.TempDir(), "run", 1)
	p := written(t, dir)
	if !strings.Contains(p, "&lt;script&gt;alert(1)") || strings.Contains(p, "<script") {
		t.Error("the detail of a criterion is not escaped")
	}
	svg, err := drawn([]panel{faultPanel(clock{zero: epoch, to: 10}, nil, []report.Span{{Name: "x: <b>&", Applied: epoch, Victims: []string{`"><script>`}}})})
	if err != nil {
		t.Fatal(err)
	}
	if s := string(svg[0].SVG); strings.Contains(s, "<b>") || strings.Contains(s, "<script") {
		t.Errorf("a chart has markup of others: %s", s)
	}
}

var svgs = regexp.MustCompile(`(?s)<svg .*?</svg>`)

// Charts are well-formed, take their colours from the page, and show the same time at the
// same place.
func TestCharts(t *testing.T) {
	dir, s := made(t, t.TempDir(), "run", 1)
	p := written(t, dir)
	charts := 0
	for _, svg := range svgs.FindAllString(p, -1) {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %.300s", err, svg)
			}
		}
		if colours.MatchString(svg) {
			t.Errorf("a colour that is not the page's in %.300s", svg)
		}
		if strings.Contains(svg, "aria-label") {
			charts++
		}
	}
	if charts != 13 {
		t.Errorf("%d charts, not 13", charts)
	}
	e, err := readEvidence(filepath.Join(dir, "scenario-0"))
	if err != nil {
		t.Fatal(err)
	}
	c, ok := e.clock(s.Scenarios[0])
	if !ok || c.from != -60 || c.to != 240 {
		t.Fatalf("the axis is %+v", c)
	}
	panels := e.panels(s.Scenarios[0], c)
	all, err := drawn(panels)
	if err != nil {
		t.Fatal(err)
	}
	// The zero of the axis is a label of each chart.
	zero := regexp.MustCompile(`<text x="([0-9.]+)"[^>]*>0(\.0+)?</text>`)
	var at string
	for _, one := range all {
		found := zero.FindAllStringSubmatch(string(one.SVG), -1)
		if len(found) == 0 {
			t.Fatalf("no zero on the axis of %s", one.Title)
		}
		if x := found[0][1]; at == "" {
			at = x
		} else if x != at {
			t.Errorf("%s has its zero at %s, others at %s", one.Title, x, at)
		}
	}
}

// A run that broke off, or that an older suite made, still has a report.
func TestWhatIsMissing(t *testing.T) {
	root := t.TempDir()
	dir, s := made(t, root, "run", 2)
	if err := os.RemoveAll(filepath.Join(dir, "scenario-0")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "scenario-1", "history.jsonl"), []byte("{\"op\":\"read\"}\n{tru"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "scenario-1", "timeline.json")); err != nil {
		t.Fatal(err)
	}
	p := written(t, dir)
	if !strings.Contains(p, "Some artefacts could not be read: history.jsonl after 1 lines") {
		t.Error("it does not say what could not be read")
	}
	if n := strings.Count(p, "<figure>"); n != 1+4+2 { // of one the fault, as the summary has it; of the other all but the curves; of both the reactions
		t.Errorf("%d charts, not 7", n)
	}
	empty := &report.Summary{Version: report.Version, Profile: "quick", Mapek: "on", Started: epoch}
	if err := report.Write(dir, empty, types.Report{}); err != nil {
		t.Fatal(err)
	}
	if p := written(t, dir); !strings.Contains(p, "0 of 0 criteria passed") || !strings.Contains(p, `<h1><span class="verdict invalid">`) {
		t.Error("a run of nothing has not failed to conclude anything")
	}
	s.Version = "2"
	if err := report.Write(dir, s, types.Report{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir); err == nil || !strings.Contains(err.Error(), `version "2"`) {
		t.Errorf("a summary of another version: %v", err)
	}
	if _, err := Write(filepath.Join(root, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no run at all: %v", err)
	}
}

// A line with fewer points has its peaks still.
func TestExtremes(t *testing.T) {
	var line plotter.XYs
	for i := range 1000 {
		line = append(line, plotter.XY{X: float64(i)})
	}
	line[123].Y, line[877].Y = 5, -3
	got := extremes(line)
	if len(got) > mostPoints || got[0] != line[0] || got[len(got)-1] != line[999] || !slices.Contains(got, line[123]) || !slices.Contains(got, line[877]) {
		t.Errorf("%d points: %v", len(got), got)
	}
	if !slices.IsSortedFunc(got, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) }) {
		t.Error("they are not in order")
	}
	if got := extremes(line[:100]); len(got) != 100 {
		t.Errorf("%d of 100 points", len(got))
	}
}
