package dashboard

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// These are promtool's own terms, see its documentation on unit tests of rules.
type (
	ruleTest struct {
		EvaluationInterval string      `json:"evaluation_interval"`
		Tests              []testGroup `json:"tests"`
	}
	testGroup struct {
		Interval    string     `json:"interval"`
		InputSeries []input    `json:"input_series"`
		ExprTests   []exprTest `json:"promql_expr_test"`
	}
	input struct {
		Series string `json:"series"`
		Values string `json:"values"`
	}
	exprTest struct {
		Expr       string   `json:"expr"`
		EvalTime   string   `json:"eval_time"`
		ExpSamples []sample `json:"exp_samples"`
	}
	sample struct {
		Labels string  `json:"labels"`
		Value  float64 `json:"value"`
	}
)

const (
	namespace = "a-mesh"
	grows     = "0+1x120" // once a second
	stays     = "1x120"
)

// placeholder is where a legend names a label.
var placeholder = regexp.MustCompile(`{{\s*(\w+)\s*}}`)

// TestQueries has Prometheus' own engine ask every query of the series that a
// node, a client, Chaos Mesh and the alert rules make: each must parse, have an
// answer, and have the labels that its legend names.
func TestQueries(t *testing.T) {
	queries, err := Queries(namespace)
	if err != nil {
		t.Fatal(err)
	}
	if len(queries) < 20 {
		t.Fatalf("only %d queries", len(queries))
	}
	promtool, err := image.Promtool(t.Context(), "../../..", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := ask(t, promtool, queries); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for name, q := range map[string]Query{
		"no PromQL":        {Expr: `rate(x0tta6bl4_mesh_records{`},
		"a name misspelt":  {Expr: `x0tta6bl4_mesh_recrods`},
		"another mesh":     {Expr: `x0tta6bl4_mesh_records{namespace="another"}`},
		"a label misspelt": {Expr: `sum by (pods) (x0tta6bl4_mesh_records)`, Legend: "{{pods}}"},
		"a label lost":     {Expr: `sum by (peer) (x0tta6bl4_mesh_rtt_seconds)`, Legend: "{{pod}} → {{peer}}"},
	} {
		if _, err := ask(t, promtool, []Query{q}); err == nil {
			t.Errorf("%s: %v has an answer", name, q)
		}
	}
}

// ask returns what promtool says, and an error unless all is well.
func ask(t *testing.T, promtool string, queries []Query) (string, error) {
	t.Helper()
	group := testGroup{Interval: "1s", InputSeries: exposed(t)}
	for _, q := range queries {
		expect := func(expr, labels string) {
			group.ExprTests = append(group.ExprTests, exprTest{Expr: expr, EvalTime: "2m", ExpSamples: []sample{{Labels: labels, Value: 1}}})
		}
		expect("group("+q.Expr+")", "{}")
		for _, label := range placeholder.FindAllStringSubmatch(q.Legend, -1) {
			expect(fmt.Sprintf(`group by (it) (label_replace(%s, "it", "is there", %q, ".+"))`, q.Expr, label[1]), `{it="is there"}`)
		}
	}
	b, err := yaml.Marshal(ruleTest{EvaluationInterval: "1s", Tests: []testGroup{group}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput()
	return string(out), err
}

type verifier struct{}

func (verifier) Counters() (map[string]uint64, error)  { return nil, nil }
func (verifier) Malformed() (map[string]uint64, error) { return nil, nil }
func (verifier) Lost() (uint64, error)                 { return 0, nil }

// exposed returns every series that is there when a fault has been injected.
func exposed(t *testing.T) []input {
	t.Helper()
	reg := prometheus.NewRegistry()
	node := metric.New(reg)
	metric.RegisterVerifier(reg, verifier{})
	node.AddPeer("mesh-node-b-0")
	node.RTT.WithLabelValues("mesh-node-b-0")
	node.ClockOffset.WithLabelValues("mesh-node-b-0")
	node.RouteMetric.WithLabelValues("mesh-node-b-0", "mesh-node-b-0")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := []input{
		{series(metric.ClientOperationsTotal, "pod", "mesh-client-x", "op", "read", "node", "mesh-node-a-0", "result", "ok"), grows},
		{series(metric.ClientLastOK, "pod", "mesh-client-x"), grows},
		{series("chaos_controller_manager_chaos_experiments", "kind", "NetworkChaos", "phase", "running"), stays},
		{series("ALERTS", "pod", "mesh-node-a-0", "alertname", "MeshNodeUnreachable", "alertstate", "firing"), stays},
	}
	for _, f := range families {
		for _, m := range f.Metric {
			labels := []string{"pod", "mesh-node-a-0"}
			for _, l := range m.Label {
				labels = append(labels, l.GetName(), l.GetValue())
			}
			switch {
			case m.Gauge != nil:
				all = append(all, input{series(f.GetName(), labels...), stays})
			case m.Counter != nil:
				all = append(all, input{series(f.GetName(), labels...), grows})
			case m.Histogram != nil:
				all = append(all, input{series(f.GetName()+"_count", labels...), grows}, input{series(f.GetName()+"_sum", labels...), grows})
				bounds := []float64{math.Inf(1)}
				for _, b := range m.Histogram.Bucket {
					bounds = append(bounds, b.GetUpperBound())
				}
				for _, le := range bounds {
					bound := append([]string{"le", strconv.FormatFloat(le, 'g', -1, 64)}, labels...)
					all = append(all, input{series(f.GetName()+"_bucket", bound...), grows})
				}
			default:
				t.Fatalf("%s is a %s", f.GetName(), f.GetType())
			}
		}
	}
	return all
}

// series writes a series of the namespace with its labels, given as name, value, …
func series(name string, labels ...string) string {
	text := []string{"namespace=" + strconv.Quote(namespace)}
	for i := 0; i < len(labels); i += 2 {
		text = append(text, labels[i]+"="+strconv.Quote(labels[i+1]))
	}
	return name + "{" + strings.Join(text, ",") + "}"
}
