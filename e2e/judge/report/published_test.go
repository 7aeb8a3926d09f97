package report

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onsi/ginkgo/v2/reporters"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// readSchema returns the published schema as JSON.
func readSchema(t *testing.T) map[string]any {
	t.Helper()
	f, err := os.Open("summary.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

// closeSchema refuses in a schema what it does not name: what readers ignore, the writer must
// not write unnoticed.
func closeSchema(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["properties"]; ok {
			v["additionalProperties"] = false
		}
		for _, inner := range v {
			closeSchema(inner)
		}
	case []any:
		for _, inner := range v {
			closeSchema(inner)
		}
	}
}

func compile(t *testing.T, doc any) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("summary.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("summary.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// written returns a summary as it is in the file.
func written(t *testing.T, s *Summary) any {
	t.Helper()
	dir := t.TempDir()
	if err := Write(dir, s, types.Report{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What a run writes is what the schema says, no less and no more.
func TestSchema(t *testing.T) {
	published := readSchema(t)
	if v := published["properties"].(map[string]any)["version"].(map[string]any)["const"]; v != Version {
		t.Errorf("the schema is of version %v, the summary of %s", v, Version)
	}
	open := compile(t, readSchema(t))
	closeSchema(published)
	closed := compile(t, published)
	s := whole()
	s.Phases = []Phase{{Name: "create cluster", Seconds: 41.25}}
	empty := &Summary{Version: Version, Profile: "full", Mapek: "off", Started: epoch, Machine: Machine{Cores: 1}}
	for name, s := range map[string]*Summary{"whole": s, "nothing ran": empty} {
		if err := closed.Validate(written(t, s)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(v map[string]any){
		"a version of its own": func(v map[string]any) { v["version"] = "2" },
		"no time":              func(v map[string]any) { v["started"] = "yesterday" },
		"a verdict of its own": func(v map[string]any) { criterionOf(v)["verdict"] = "fine" },
		"a cause of its own":   func(v map[string]any) { criterionOf(v)["cause"] = "tired" },
		"no measurement":       func(v map[string]any) { delete(criterionOf(v), "measured") },
		"text as measurement":  func(v map[string]any) { criterionOf(v)["measured"] = "2" },
	} {
		v := written(t, s).(map[string]any)
		spoil(v)
		if open.Validate(v) == nil {
			t.Errorf("%s is valid", name)
		}
	}
	v := written(t, s).(map[string]any)
	criterionOf(v)["later"] = true
	if err := open.Validate(v); err != nil {
		t.Errorf("a field that is added later: %v", err)
	}
	if closed.Validate(v) == nil {
		t.Error("the schema cannot be closed: a field that it does not name would go unnoticed")
	}
}

func criterionOf(v map[string]any) map[string]any {
	return v["scenarios"].([]any)[0].(map[string]any)["criteria"].([]any)[0].(map[string]any)
}

func TestMargin(t *testing.T) {
	for _, c := range []struct {
		expected string
		measured float64
		want     float64
		ok       bool
	}{
		{"≤ 2", 0.5, 0.75, true},
		{"≤ 2", 3, -0.5, true},
		{"≥ 0.5", 1, 1, true},
		{"≤ 0", 0, 0, false},
		{"= 1", 1, 0, false},
		{"yes", 1, 0, false},
	} {
		got, ok := Criterion{Expected: c.expected, Measured: &c.measured}.Margin()
		if got != c.want || ok != c.ok {
			t.Errorf("%g of %q: margin %g, %v", c.measured, c.expected, got, ok)
		}
	}
	if _, ok := (Criterion{Expected: "≤ 2"}).Margin(); ok {
		t.Error("what was not measured has a margin")
	}
}

func TestJUnitTellsWhatWasMeasured(t *testing.T) {
	j := junit(whole())
	of := func(id string) reporters.JUnitProperties {
		for _, c := range j.TestSuites[0].TestCases {
			if strings.HasPrefix(c.Name, id+" ") {
				return *c.Properties
			}
		}
		t.Fatalf("no case of %s", id)
		return reporters.JUnitProperties{}
	}
	for name, want := range map[string]string{"expected": "≤ 2", "measured": "0.75", "unit": "s", "margin": "0.625", "verdict": "passed"} {
		if got := of("S1.1").WithName(name); got != want {
			t.Errorf("property %s is %q, want %q", name, got, want)
		}
	}
	if got := of("A1").WithName("times"); got != "a 1s\nb 2s" {
		t.Errorf("what was observed is %q", got)
	}
	if got := of("A1").WithName("query"); got != `up{pod="a"} @ 1` {
		t.Errorf("the query is %q", got)
	}
	for _, p := range of("S1.2").Properties {
		if p.Name == "measured" {
			t.Errorf("nothing was measured, and yet: %v", p)
		}
	}
}

// What JSON cannot encode costs its own entry, and no more.
func TestWhatJSONCannotEncode(t *testing.T) {
	s := spec("S1.1", types.SpecStatePassed, entry("reached", map[string]float64{"a": math.NaN()}), entry("kept", "yes"),
		entry(EntryMeasurement, Measurement{Expected: "≥ 1", Measured: math.Inf(1)}))
	sum := build(s)
	dir := t.TempDir()
	if err := Write(dir, sum, types.Report{SpecReports: types.SpecReports{s}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "ginkgo.json"))
	if err != nil || !strings.Contains(string(b), "map[a:NaN]") || !strings.Contains(string(b), "kept") {
		t.Errorf("ginkgo.json: %v: %s", err, b)
	}
	if c := sum.Scenarios[0].Criteria[0]; c.Verdict != Invalid || c.Measured != nil {
		t.Errorf("an infinite measurement is %+v", c)
	}
	var back Summary
	if b, err = os.ReadFile(filepath.Join(dir, "summary.json")); err != nil || json.Unmarshal(b, &back) != nil {
		t.Errorf("summary.json: %v: %s", err, b)
	}
}

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestAnnotations(t *testing.T) {
	bad := fails(spec("S1.2", types.SpecStateFailed), types.NodeTypeIt, "100% lost, a:b\n::warning::not ours")
	bad.LeafNodeLocation = types.CodeLocation{FileName: "/some/where/e2e/odd,name_test.go", LineNumber: 7}
	s := build(spec("S1.1", types.SpecStatePassed), bad, spec("S1.3", types.SpecStateSkipped, entry(EntryNotSupported, "no")))
	s.Cleanup = []string{"namespace\nstays"}
	var out bytes.Buffer
	if err := Publish(&out, s, "/somewhere", environment("GITHUB_ACTIONS", "true")); err != nil {
		t.Fatal(err)
	}
	var commands []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "::") {
			commands = append(commands, strings.TrimSuffix(line, "\n"))
		}
	}
	want := []string{
		"::error file=e2e/odd%2Cname_test.go,line=7,title=S1.2 failed%3A network-partition::S1.2 holds: 100%25 lost, a:b ::warning::not ours",
		"::error title=Cleanup failed::namespace%0Astays",
	}
	if strings.Join(commands, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(commands, "\n"), strings.Join(want, "\n"))
	}
	out.Reset()
	if err := Publish(&out, s, "/somewhere", environment()); err != nil || strings.Contains(out.String(), "::error") {
		t.Errorf("annotations where GitHub does not run it: %v\n%s", err, out.String())
	}
}

func TestSummaryOfTheJob(t *testing.T) {
	path := filepath.Join(t.TempDir(), "summary")
	if err := os.WriteFile(path, []byte("of another step\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := whole()
	s.Scenarios[0].Criteria[1].Detail = "a | b\n<script>*c*"
	var out bytes.Buffer
	if err := Publish(&out, s, "/somewhere", environment("GITHUB_STEP_SUMMARY", path)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"of another step\n## 3 of 6 criteria passed, 1 failed, 1 invalid, 1 not supported, not everything was cleaned up",
		"| network-partition | 3 | 1 | 0 | 1 | 1 |",
		`| S1.2 holds | network-partition | failed |  |  | a \| b &lt;script&gt;\*c\* |`,
		"| S1.1 holds | network-partition | passed | ≤ 2 s | 0.75 s |",
		"Cleanup failed: namespace stays",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is not in\n%s", want, b)
		}
	}
	if err := Publish(&out, s, "/somewhere", environment("GITHUB_STEP_SUMMARY", filepath.Join(path, "no"))); err == nil {
		t.Error("a summary that cannot be written is no error")
	}
}
