package page

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/observe/probe/echo"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// hostile is text that would be markup if it were not escaped.
const hostile = `</script><script>alert(1)</script><img src=http://example.invalid/x>"'&`

var nodes = []string{"mesh-node-a-0", "mesh-node-a-1", "mesh-node-a-2", "mesh-node-b-0", "mesh-node-b-1"}

func second(s float64) time.Time { return epoch.Add(seconds(s)) }

func ref[T any](v T) *T { return &v }

// made writes a run with so many scenarios into a directory below root, as large as a
// full one: a fault of a minute in five minutes, five nodes, clients and probes.
func made(t testing.TB, root, name string, scenarios int) (string, *report.Summary) {
	t.Helper()
	dir := filepath.Join(root, name)
	s := &report.Summary{
		Version: report.Version, Profile: "full", Mapek: "on", Started: epoch, WallSeconds: 1800,
		Machine: report.Machine{Cores: 2, Memory: 24 << 30, Kernel: "6.1"},
		Images:  []report.Image{{Name: "docker.io/prom/prometheus:v3.10.0", Digest: "sha256:2ff206ad4a97744f4f71cb3f27a81f201697a6fa2f07b66ca1746edd4afa5a7c", Source: "built"}},
		Phases:  []report.Phase{{Name: "create cluster", Seconds: 41}},
	}
	for n := range scenarios {
		sc := report.Scenario{Name: fmt.Sprintf("scenario-%d", n), Fault: report.Fault{Injected: ref(second(61)), Proven: ref(second(62)), Recovered: ref(second(121))}}
		counted := fmt.Sprintf(`x0tta6bl4_counted_0_total{namespace="x-%d"}`, n)
		for k := range 12 {
			c := report.Criterion{
				ID: fmt.Sprintf("S%d.%d", n+1, k+1), Text: "every node that is cut recognises one partition, of all the peers that it lost", Verdict: report.Passed,
				Expected: "≤ 2", Measured: ref(0.5 + float64(k)/10), Unit: "s", Started: ref(second(float64(65 + 5*k))), Seconds: 3,
				Observed: []report.Observation{{Name: "from the cut to new routes", Value: "mesh-node-a-0 832ms\nmesh-node-b-0 1.2s"}},
				Queries:  []string{fmt.Sprintf(`x0tta6bl4_mapek_anomalies_detected{namespace="x-%d",type="network_partition"}[342000ms] @ 1795768697.696`, n)},
			}
			switch k {
			case 1:
				c.Verdict, c.Measured, c.Detail = report.Failed, ref(3.25), "mesh-node-b-0 took 3.25s, at most 2s is allowed "+hostile
			case 2:
				c.Verdict, c.Measured, c.Expected, c.Detail = report.Invalid, nil, "", "too little traffic"
			case 3:
				c.Verdict, c.Measured, c.Expected, c.Detail = report.NotSupported, nil, "", "no sch_netem"
			case 4:
				c.Expected, c.Unit, c.Measured, c.Queries = "≥ 6", "signatures", ref(10.0), []string{counted + " @ 1"}
				c.Bars = []report.Bar{{Metric: "x0tta6bl4_counted_0_total", Expected: "≥ 6"}}
			}
			sc.Criteria = append(sc.Criteria, c)
		}
		sc.Lane, sc.Began, sc.Ended = 1+n%2, ref(second(float64(n*60))), ref(second(float64(n*60+300)))
		s.Scenarios = append(s.Scenarios, sc)
		artefacts(t, filepath.Join(dir, sc.Name), sc, n)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := report.Write(dir, s, types.Report{}); err != nil {
		t.Fatal(err)
	}
	return dir, s
}

// artefacts writes those of a scenario.
func artefacts(t testing.TB, dir string, sc report.Scenario, n int) {
	t.Helper()
	for _, sub := range []string{"journal", "pods"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	line := report.Timeline{Namespace: fmt.Sprintf("x-%d", n), Nodes: nodes, Start: epoch, End: second(300),
		Faults: []report.Span{{Name: sc.Name + ": mesh-network-partition", Victims: nodes[3:], Applied: second(60), Ended: ref(second(122)), Fault: sc.Fault}}}
	for m := range 8 {
		c := report.Curve{Selector: fmt.Sprintf(`x0tta6bl4_counted_%d_total{namespace="x-%d"}`, m, n), Pods: map[string][][2]float64{}}
		for i, pod := range nodes {
			for s := range 300 {
				c.Pods[pod] = append(c.Pods[pod], [2]float64{float64(s), 10 + 5*math.Sin(float64(s*(i+m+1))/10)})
			}
		}
		line.Curves = append(line.Curves, c)
	}
	if err := line.Write(dir); err != nil {
		t.Fatal(err)
	}
	var ops []any
	for s := range 1500 {
		o := api.Operation{Op: api.OpWrite, Node: nodes[s%5], Invoked: second(float64(s) / 5), Returned: second(float64(s)/5 + 0.1), Result: api.OK, Attempts: 1 + s%7/6}
		if s == 400 {
			o.Result = api.Unknown
		}
		ops = append(ops, o)
	}
	jsonLines(t, filepath.Join(dir, "history.jsonl"), ops)
	for i, pod := range nodes {
		var entries, states []any
		for k, ph := range []event.Phase{event.Monitor, event.Analyze, event.Plan, event.Execute, event.Knowledge} {
			kind := "network_partition"
			entries = append(entries, event.Entry{Seq: uint64(k + 1), Time: second(62 + float64(k)/5), Node: pod, Incident: pod + "-1", Phase: ph, Kind: kind,
				Detail: map[string]string{event.DetailPeers: nodes[(i+1)%5]}})
		}
		entries = append(entries, event.Entry{Seq: 6, Time: second(125), Node: pod, Incident: pod + "-1", Phase: event.Analyze, Kind: event.Resolved})
		jsonLines(t, filepath.Join(dir, "journal", pod+".jsonl"), entries)
		for s := range 300 {
			states = append(states, echo.Line{Seq: uint64(s), Time: second(float64(s)), Kind: echo.State, Pod: pod, Peers: []echo.PeerState{{Peer: nodes[(i+1)%5], Up: s < 60 || s > 121}}})
		}
		jsonLines(t, filepath.Join(dir, "pods", pod+".outside-probe.log"), states)
	}
}

func jsonLines(t testing.TB, path string, all []any) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e := json.NewEncoder(f)
	for _, v := range all {
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
}

func written(t testing.TB, dir string) string {
	t.Helper()
	path, err := Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
