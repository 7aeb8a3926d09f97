package scenario

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// madeAt, readyAt and toldAt say when a pod was made, became a node, and was told to leave, in ms.
func madeAt(ms int) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(at(ms)) }
}

func readyAt(ms int) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(at(ms))}}
	}
}

func toldAt(ms int) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		gone, grace := metav1.NewTime(at(ms+10_000)), int64(10)
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &gone, &grace
		p.Status.Conditions = nil // not ready any more
	}
}

// rosterOf has seen pods, one after the other.
func rosterOf(pods ...corev1.Pod) *roster {
	r := newRoster(nil)
	for _, p := range pods {
		r.see(&p)
	}
	return r
}

func TestStays(t *testing.T) {
	r := rosterOf(nodePod("a", "1", readyAt(0)), nodePod("b", "2"), nodePod("b", "9", readyAt(3000), madeAt(2000)),
		nodePod("c", "3", readyAt(2000)), nodePod("c", "3", readyAt(5000)), nodePod("c", "3", toldAt(8000)), nodePod("d", "4"))
	var got []string
	for _, s := range r.unread([]string{"a", "b"}) {
		got = append(got, fmt.Sprint(s.name, s.ready.Sub(epoch), s.told.Sub(epoch)))
	}
	never := time.Time{}.Sub(epoch)
	want := []string{fmt.Sprint("c", 2*time.Second, 8*time.Second), fmt.Sprint("d", never, never)}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A pod is a node from when it was ready until it was told to leave, and no scrape at the end of that is not nothing.
func TestStayInAWindow(t *testing.T) {
	w := prom.Window{Start: at(20_000), End: at(60_000)}
	for name, c := range map[string]struct {
		ready, told, last int // ms; 0: never
		end               int // of the window; 0: it was no node in it
		known             bool
	}{
		"all the time":                        {10_000, 0, 59_000, 60_000, true},
		"from the middle on":                  {40_000, 0, 59_000, 60_000, true},
		"up to the middle":                    {10_000, 40_000, 39_000, 40_000, true},
		"scraped last long before":            {10_000, 0, 49_000, 60_000, false},
		"scraped last long before it left":    {10_000, 40_000, 29_000, 40_000, false},
		"never scraped":                       {10_000, 40_000, 0, 40_000, false},
		"hardly begun, and not scraped":       {55_000, 0, 0, 60_000, true},
		"hardly begun when it was told to go": {35_000, 40_000, 0, 40_000, true},
		"never ready":                         {0, 40_000, 0, 0, true},
		"ready after it":                      {60_001, 0, 0, 0, true},
		"told to leave before it":             {10_000, 19_000, 0, 0, true},
		"told to leave before it was ready":   {45_000, 40_000, 0, 0, true},
	} {
		when := func(ms int) time.Time {
			if ms == 0 {
				return time.Time{}
			}
			return at(ms)
		}
		s := stay{name: "c", ready: when(c.ready), told: when(c.told)}
		in, was := s.during(w)
		if was != (c.end > 0) || was && (!in.End.Equal(at(c.end)) || !in.Start.Equal(at(max(c.ready, 20_000)))) {
			t.Errorf("%s: a node: %t, from %v until %v", name, was, in.Start, in.End)
		}
		if was && (s.seen(when(c.last), in.End) == nil) != c.known {
			t.Errorf("%s: %v", name, s.seen(when(c.last), in.End))
		}
	}
}

// A node that joined under stress may find its victim slow. What it finds of itself is not the victim's, and a link that
// failed is nobody's.
func TestMisdiagnosesOfGuests(t *testing.T) {
	stress := Diagnosis{Incidents: []string{metric.ResourceExhaustion, metric.LatencySLO}, About: []string{"a"}}
	for name, c := range map[string]struct {
		guest  string
		opened map[string]float64
		want   string // empty: nothing
	}{
		"nothing":                   {"c", map[string]float64{metric.LinkFailure: 0}, ""},
		"the victim is slow":        {"c", map[string]float64{metric.LatencySLO: 2}, ""},
		"a link":                    {"c", map[string]float64{metric.LinkFailure: 2}, "c: link_failure, 2 times"},
		"a link beside the victim":  {"c", map[string]float64{metric.LatencySLO: 1, metric.LinkFailure: 1}, "c: link_failure, 1 times"},
		"its own exhaustion":        {"c", map[string]float64{metric.ResourceExhaustion: 1}, "c: resource_exhaustion, 1 times"},
		"the victim's own":          {"a", map[string]float64{metric.ResourceExhaustion: 1}, ""},
		"what no fault ever allows": {"a", map[string]float64{metric.StorageFault: 1}, "a: storage_fault"},
	} {
		got := Guest{c.guest, c.opened}.misdiagnosed([]Diagnosis{{Incidents: []string{metric.NodeCrash}, About: []string{"b"}}, stress})
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Who came and left is asked by its count, from when it was ready up to when it was told to leave; whose journal is
// read is not, nor is one that was killed and has another in its place.
func TestGuestsAreAsked(t *testing.T) {
	asked := map[string]string{} // by query, at which second
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked[q.FormValue("query")] = q.FormValue("time")
		series := map[string]any{"metric": map[string]string{"pod": "c", "type": metric.LinkFailure},
			"values": [][2]any{{at(21_000).Unix(), "0"}, {at(39_000).Unix(), "1"}}}
		err := json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": []any{series}}})
		if err != nil {
			t.Error(err)
		}
	}))
	defer h.Close()
	client, err := prom.New(&rest.Config{Host: h.URL}, "monitoring/prometheus:9090")
	if err != nil {
		t.Fatal(err)
	}
	victim := nodePod("b", "2", readyAt(0))
	r := &Run{Mesh: mesh.New(nil, nil, nil, "ns"), Prom: client, Nodes: []string{"a", "b"}, pods: []corev1.Pod{nodePod("a", "1"), victim}}
	r.roster = rosterOf(nodePod("a", "1", readyAt(0)), victim, nodePod("b", "9", readyAt(30_000), madeAt(25_000)),
		nodePod("c", "3", readyAt(20_000)), nodePod("c", "3", toldAt(40_000)), nodePod("d", "4", readyAt(70_000)))
	got, err := r.guests(t.Context(), at(10_000), at(60_000))
	if err != nil || len(got) != 1 || got[0].Name != "c" || got[0].Opened[metric.LinkFailure] != 1 {
		t.Errorf("got %v, %v", got, err)
	}
	query := metric.AnomaliesDetected + `{namespace="ns",pod="c"}[320000ms]` // with what was before
	if until := asked[query]; len(asked) != 1 || !strings.HasPrefix(until, fmt.Sprint(at(40_000).Unix())) {
		t.Errorf("asked %v", asked)
	}
	r.pods = append(r.pods, nodePod("e", "5"), nodePod("f", "6"), nodePod("g", "7"), nodePod("h", "8"))
	if got, err := r.guests(t.Context(), at(10_000), at(60_000)); err == nil {
		t.Errorf("by a watch that has not seen all pods: %v", got)
	}
}

// A finished run has its guests with it.
func TestGuestsAreKept(t *testing.T) {
	r := kept(t, map[string][]event.Entry{"a": nil})
	r.Scenario = &Scenario{}
	start := time.Now().Add(-time.Hour)
	r.faults = []disturbed{&Stress{Victim: "a", Episode: &Episode{run: r, Window: prom.Window{Start: start, End: start.Add(time.Minute)}}}}
	if wrong, err := r.Misdiagnoses(t.Context()); len(wrong) > 0 || err != nil {
		t.Errorf("of nobody: %v, %v", wrong, err)
	}
	r.visited = []Guest{{"c", map[string]float64{metric.LinkFailure: 1}}}
	b, err := r.save()
	if err != nil || !strings.Contains(string(b), `"Guests"`) {
		t.Fatalf("%v: %s", err, b)
	}
	files := r.artefacts.files.(fstest.MapFS)
	files[episodesFile] = &fstest.MapFile{Data: b}
	again, err := Reopen(r.Scenario, files)
	if err != nil {
		t.Fatal(err)
	}
	if wrong, err := again.Misdiagnoses(t.Context()); len(wrong) != 1 || err != nil {
		t.Errorf("of a guest whose link failed: %v, %v", wrong, err)
	}
}
