package alert

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

var (
	epoch  = time.Unix(1_900_000_000, 0)
	window = prom.Window{Namespace: "ns", Pods: []string{"a", "b"}, Start: epoch}
)

func second(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }

// active is a series of ALERTS that has samples in these seconds.
func active(state string, seconds ...int) *model.SampleStream {
	s := &model.SampleStream{Metric: model.Metric{labelState: model.LabelValue(state)}}
	for _, n := range seconds {
		s.Values = append(s.Values, model.SamplePair{Timestamp: model.TimeFromUnixNano(second(n).UnixNano()), Value: 1})
	}
	return s
}

func TestLifeOf(t *testing.T) {
	for name, c := range map[string]struct {
		series model.Matrix
		end    int
		want   Life
		state  string
	}{
		"nothing":           {nil, 9, Life{}, Inactive},
		"pending":           {model.Matrix{active(Pending, 3, 4, 5)}, 5, Life{Pending: second(3)}, Pending},
		"pending, and gone": {model.Matrix{active(Pending, 3, 4, 5)}, 9, Life{Pending: second(3)}, Pending},
		"firing":            {model.Matrix{active(Pending, 3, 4), active(Firing, 5, 6)}, 6, Life{Pending: second(3), Firing: second(5)}, Firing},
		"resolved":          {model.Matrix{active(Pending, 3, 4), active(Firing, 5, 6)}, 7, Life{second(3), second(5), second(7)}, Resolved},
		"firing at once":    {model.Matrix{active(Firing, 5, 6)}, 6, Life{Pending: second(5), Firing: second(5)}, Firing},
		"one of two is left": {
			model.Matrix{active(Pending, 2), active(Firing, 3, 4), active(Pending, 1, 2), active(Firing, 4, 5, 6)}, 6,
			Life{Pending: second(1), Firing: second(3)}, Firing,
		},
		"it came back and fires": {
			model.Matrix{active(Pending, 1, 2), active(Firing, 3, 6, 7)}, 7, Life{Pending: second(1), Firing: second(3)}, Firing,
		},
		"it came back and is pending": {
			model.Matrix{active(Pending, 1, 6, 7), active(Firing, 3, 4)}, 7, Life{second(1), second(3), second(5)}, Resolved,
		},
	} {
		got := lifeOf(c.series, second(c.end))
		if !got.Pending.Equal(c.want.Pending) || !got.Firing.Equal(c.want.Firing) || !got.Resolved.Equal(c.want.Resolved) || got.State() != c.state {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	l := Life{Pending: second(0), Firing: second(10)}
	if got, want := l.String(), "firing, pending 17:46:40.000, firing 17:46:50.000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// answers is a Prometheus server behind the API server that answers each path
// with the same data.
type answers map[string]string

const proxied = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/"

// reader returns a reader of such a server, 20 s after the window's start, and
// where it keeps the last range query.
func reader(t *testing.T, a answers) (*Reader, *http.Request) {
	t.Helper()
	var asked http.Request
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, proxied)
		data, ok := a[name]
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if name == "query_range" {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			asked.Form = r.Form
		}
		fmt.Fprintf(w, `{"status":"success","data":%s}`, data)
	}))
	t.Cleanup(h.Close)
	c, err := prom.New(&rest.Config{Host: h.URL}, "monitoring/prometheus:9090")
	if err != nil {
		t.Fatal(err)
	}
	r := New(c)
	r.now = func() time.Time { return second(20) }
	return r, &asked
}

// matrix is the answer of a range query.
func matrix(series ...string) string {
	return `{"resultType":"matrix","result":[` + strings.Join(series, ",") + `]}`
}

func alerts(state string, seconds ...int) string {
	var values []string
	for _, n := range seconds {
		values = append(values, fmt.Sprintf(`[%d,"1"]`, second(n).Unix()))
	}
	return fmt.Sprintf(`{"metric":{"__name__":"ALERTS","alertname":"X","alertstate":%q,"namespace":"ns","pod":"a"},"values":[%s]}`, state, strings.Join(values, ","))
}

func TestLife(t *testing.T) {
	r, asked := reader(t, answers{"query_range": matrix(alerts(Pending, 2, 3), alerts(Firing, 4, 5))})
	l, err := r.Life("X", window)(t.Context())
	if err != nil || l.State() != Resolved || !l.Firing.Equal(second(4)) || !l.Resolved.Equal(second(6)) {
		t.Errorf("got %v, %v", l, err)
	}
	for field, want := range map[string]string{
		"query": `ALERTS{namespace="ns",alertname="X"}`, "start": fmt.Sprint(epoch.Unix()), "end": fmt.Sprint(second(20).Unix()), "step": "1",
	} {
		if got := asked.Form.Get(field); got != want {
			t.Errorf("asked with %s %s, want %s", field, got, want)
		}
	}
	closed := window
	closed.End = second(5)
	if l, err := r.Life("X", closed)(t.Context()); err != nil || l.State() != Firing {
		t.Errorf("before the end: got %v, %v", l, err)
	}
	if got, want := asked.Form.Get("end"), fmt.Sprint(second(5).Unix()); got != want {
		t.Errorf("asked to the end %s, want %s", got, want)
	}
}

func TestLifeBeginsInTheWindow(t *testing.T) {
	for _, state := range []string{Pending, Firing} {
		r, _ := reader(t, answers{"query_range": matrix(alerts(state, 0, 1, 2))})
		if l, err := r.Life("X", window)(t.Context()); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("%s from the start: got %v, %v", state, l, err)
		}
	}
	// Another pod's alert, which was there before, says nothing of this one's.
	other := strings.ReplaceAll(alerts(Firing, 0, 1, 2, 3, 4, 5), `"pod":"a"`, `"pod":"b"`)
	r, _ := reader(t, answers{"query_range": matrix(other, alerts(Pending, 2, 3), alerts(Firing, 4, 5))})
	if l, err := r.Life("X", window)(t.Context()); err != nil || !l.Pending.Equal(second(2)) || !l.Firing.Equal(second(4)) {
		t.Errorf("beside one from the start: got %v, %v", l, err)
	}
	// What was pending before fires because of that.
	r, _ = reader(t, answers{"query_range": matrix(alerts(Pending, 0, 1), alerts(Firing, 2, 3))})
	if l, err := r.Life("X", window)(t.Context()); err == nil {
		t.Errorf("pending from the start: got %v", l)
	}
	r, _ = reader(t, answers{})
	if l, err := r.Life("X", window)(t.Context()); err == nil {
		t.Errorf("from a server that fails: %v", l)
	}
}

func TestActive(t *testing.T) {
	r, _ := reader(t, answers{"alerts": `{"alerts":[
		{"activeAt":"2030-01-01T00:00:00Z","labels":{"alertname":"X","namespace":"ns","pod":"a"},"state":"firing","value":"1"},
		{"activeAt":"2030-01-01T00:00:00Z","labels":{"alertname":"X","namespace":"other","pod":"a"},"state":"firing","value":"1"}]}`})
	got, err := r.Active("ns")(t.Context())
	if err != nil || len(got) != 1 || got[0].Labels["namespace"] != "ns" || string(got[0].State) != Firing {
		t.Errorf("got %v, %v", got, err)
	}
	r, _ = reader(t, answers{})
	if got, err := r.Active("ns")(t.Context()); err == nil {
		t.Errorf("from a server that fails: %v", got)
	}
}

// rule is an alerting rule as the server describes it.
func rule(name, health string, evaluated time.Time) string {
	return fmt.Sprintf(`{"type":"alerting","name":%q,"query":"x > 0","duration":0,"labels":{},"annotations":{},"alerts":[],"health":%q,"lastError":"oh","evaluationTime":0.001,"lastEvaluation":%q,"state":"inactive"}`,
		name, health, evaluated.UTC().Format(time.RFC3339Nano))
}

func rules(list ...string) string {
	return `{"groups":[{"name":"g","file":"f","interval":1,"rules":[` + strings.Join(list, ",") + `]}]}`
}

// scraped are the series of pods that were scraped every so many seconds, up to the 20th.
func scraped(every int, pods ...string) string {
	var series []string
	for _, p := range pods {
		var values []string
		for n := 1; n <= 20; n += every {
			values = append(values, fmt.Sprintf(`[%d,"0"]`, second(n).Unix()))
		}
		series = append(series, fmt.Sprintf(`{"metric":{"pod":%q},"values":[%s]}`, p, strings.Join(values, ",")))
	}
	return `{"resultType":"matrix","result":[` + strings.Join(series, ",") + `]}`
}

func vector(pods ...string) string {
	var samples []string
	for _, p := range pods {
		samples = append(samples, fmt.Sprintf(`{"metric":{"pod":%q},"value":[%d,"0"]}`, p, epoch.Unix()))
	}
	return `{"resultType":"vector","result":[` + strings.Join(samples, ",") + `]}`
}

func TestSilent(t *testing.T) {
	spike, peer, healing := rule(VerificationFailureSpike, "ok", second(19)), rule(NodeUnreachable, "ok", second(19)), rule(HealingTriggered, "ok", second(19))
	disk, clock := rule(StorageFault, "ok", second(19)), rule(ClockSkew, "ok", second(19))
	loaded := rules(spike, peer, healing, disk, clock)
	for name, c := range map[string]struct {
		a     answers
		fired int
		err   string
	}{
		"silence":             {answers{"rules": loaded, "query": vector("a", "b"), "query_range": matrix()}, 0, ""},
		"noise":               {answers{"rules": loaded, "query": vector("a", "b"), "query_range": matrix(alerts(Firing, 3))}, 1, ""},
		"pending only":        {answers{"rules": loaded, "query": vector("a", "b"), "query_range": matrix(alerts(Pending, 3))}, 1, ""},
		"no such rule":        {answers{"rules": rules(spike, peer, disk, clock), "query": vector("a", "b"), "query_range": matrix()}, 0, "MAPEKHealingTriggered: Prometheus has no such rule"},
		"a rule that fails":   {answers{"rules": rules(rule(VerificationFailureSpike, "err", second(19)), peer, healing, disk, clock), "query": vector("a", "b"), "query_range": matrix()}, 0, `PQCVerificationFailureSpike: the rule's health is "err": oh`},
		"a rule that stands":  {answers{"rules": rules(spike, rule(NodeUnreachable, "ok", second(10)), healing, disk, clock), "query": vector("a", "b"), "query_range": matrix()}, 0, "MeshNodeUnreachable: the rule was last evaluated"},
		"a pod unseen":        {answers{"rules": loaded, "query": vector("a"), "query_range": matrix()}, 0, "no series of pod b"},
		"no rules to be had":  {answers{"query": vector("a", "b"), "query_range": matrix()}, 0, "rules: "},
		"no series to be had": {answers{"rules": loaded, "query": vector("a", "b")}, 0, "ALERTS{"},
	} {
		r, asked := reader(t, c.a)
		fired, err := r.Silent(window)(t.Context())
		if c.err == "" && (err != nil || len(fired) != c.fired) {
			t.Errorf("%s: got %v, %v", name, fired, err)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %v, %v, want an error with %q", name, fired, err, c.err)
		}
		if got, want := asked.Form.Get("query"), `ALERTS{namespace="ns"}`; c.err == "" && got != want {
			t.Errorf("%s: asked %s, want %s", name, got, want)
		}
	}
}

// TestCovered: what was scraped half of the time says nothing of the other half.
func TestCovered(t *testing.T) {
	for name, c := range map[string]struct {
		query string
		err   string
	}{
		"all the while": {scraped(1, "a", "b"), ""},
		"half of it":    {scraped(2, "a", "b"), "absent is not zero"},
		"one pod":       {scraped(1, "a"), "no series of pod b"},
	} {
		r, _ := reader(t, answers{"query": c.query})
		if _, err := r.Covered(window)(t.Context()); (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
	}
}

func TestAbout(t *testing.T) {
	got := about(model.Metric{
		"__name__": "ALERTS", "alertname": "MAPEKHealingTriggered", "alertstate": "firing", "namespace": "ns", "instance": "10.0.0.1:8080",
		"job": "pods", "severity": "info", "zone": "zone-a", "pod": "mesh-node-a-0", "action": "migrate_sessions", "outcome": "done",
	})
	if want := "MAPEKHealingTriggered action=migrate_sessions outcome=done pod=mesh-node-a-0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFired(t *testing.T) {
	r, _ := reader(t, answers{"query_range": matrix(alerts(Firing, 0, 1), alerts(Pending, 2), alerts(Firing, 3, 4))})
	fired, err := r.Fired("X", window)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fired { // all are one series, which fired from the start
		if !f.Before {
			t.Errorf("what fired from the start has begun: %v", f)
		}
	}
	if len(fired) != 2 {
		t.Errorf("fired %v", fired)
	}
	r, _ = reader(t, answers{"query_range": matrix(alerts(Pending, 2), alerts(Firing, 3, 4))})
	fired, err = r.Fired("X", window)(t.Context())
	if err != nil || len(fired) != 1 || !fired[0].At.Equal(second(3)) || !fired[0].Resolved.Equal(second(5)) || fired[0].Before || fired[0].Labels[labelState] != Firing {
		t.Errorf("fired %v, %v", fired, err)
	}
	r, _ = reader(t, answers{})
	if fired, err := r.Fired("X", window)(t.Context()); err == nil {
		t.Errorf("from a server that fails: %v", fired)
	}
}

// What fires at the end of the window is not resolved, and nor is what fired before and does so again.
func TestFiredIsNotResolved(t *testing.T) {
	for name, c := range map[string]struct {
		seconds  []int
		resolved int // 0: not
	}{
		"a second before the end": {[]int{3, 4, 19}, 20},
		"at the end":              {[]int{3, 4, 20}, 0},
		"all the time":            {[]int{18, 19, 20}, 0},
	} {
		r, _ := reader(t, answers{"query_range": matrix(alerts(Firing, c.seconds...))})
		fired, err := r.Fired("X", window)(t.Context())
		if err != nil || len(fired) != 1 {
			t.Fatalf("%s: %v, %v", name, fired, err)
		}
		if got := fired[0].Resolved; got.IsZero() != (c.resolved == 0) || c.resolved > 0 && !got.Equal(second(c.resolved)) {
			t.Errorf("%s: resolved at %v", name, got)
		}
	}
}

func TestRule(t *testing.T) {
	healing := strings.Replace(rule(HealingTriggered, "ok", second(19)), "x > 0", "increase(x[5m]) > 0", 1)
	for name, c := range map[string]struct {
		a   answers
		err string
	}{
		"one that looks back":    {answers{"rules": rules(rule(ClockSkew, "ok", second(19)), healing)}, ""},
		"one that does not":      {answers{"rules": rules(rule(HealingTriggered, "ok", second(19)))}, "0 ranges"},
		"no such rule":           {answers{"rules": rules()}, "no such rule"},
		"none that is to be had": {answers{}, "rules: "},
	} {
		r, _ := reader(t, c.a)
		got, err := r.Rule(HealingTriggered)(t.Context())
		if c.err == "" && (err != nil || got != Rule{Back: 5 * time.Minute, Every: time.Second}) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, %v, want %q", name, got, err, c.err)
		}
	}
}
