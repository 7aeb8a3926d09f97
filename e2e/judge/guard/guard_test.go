package guard

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// server is a Prometheus that answers a query by what it contains, and keeps what it was asked.
type server struct {
	answers map[string]string // a result, or "" for a server that fails
	asked   []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(b))
	query := form.Get("query")
	s.asked = append(s.asked, query)
	w.Header().Set("Content-Type", "application/json")
	for part, answer := range s.answers {
		if !strings.Contains(query, part) {
			continue
		}
		if answer == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if bad, ok := strings.CutPrefix(answer, "bad: "); ok {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"status":"error","errorType":"bad_data","error":%q}`, bad)
			return
		}
		fmt.Fprintf(w, `{"status":"success","data":%s}`, answer)
		return
	}
	fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
}

func (s *server) client(t *testing.T) *prom.Client {
	t.Helper()
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	c, err := prom.New(&rest.Config{Host: h.URL}, "monitoring/prometheus:9090")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	starving = `{"resultType":"vector","result":[{"metric":{"pod":"mesh-client-x"},"value":[1,"31.5"]}]}`
	burning  = `{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1,"7"]},{"metric":{"pod":"b"},"value":[1,"8"]}]}`
	clients  = "client_last_ok"
)

func TestLook(t *testing.T) {
	long := now.Add(-Unserved)
	for name, tc := range map[string]struct {
		expression string
		calm       time.Time
		answers    map[string]string
		want       string // what it is stopped for
		asked      int
		fails      bool
	}{
		"all is well":                            {"", long, nil, "", 1, false},
		"clients starve without a fault":         {"", long, map[string]string{clients: starving}, "31.5 for {pod=\"mesh-client-x\"}", 1, false},
		"clients starve in a fault":              {"", time.Time{}, map[string]string{clients: starving}, "", 0, false},
		"clients starve since shortly before it": {"", long.Add(time.Second), map[string]string{clients: starving}, "", 0, false},
		"a server that fails stops nothing":      {"", long, map[string]string{clients: ""}, "", 1, true},
		"an expression, also in a fault":         {"cpu > 1", time.Time{}, map[string]string{"cpu": burning}, "cpu > 1 is 7 for {pod=\"a\"}", 1, false},
		"an expression that returns nothing":     {"cpu > 1", time.Time{}, nil, "", 1, false},
		"clients starve beside an expression":    {"cpu > 1", long, map[string]string{clients: starving}, "31.5", 2, false},
		"an expression that fails":               {"cpu > 1", long, map[string]string{"cpu": "", clients: starving}, "31.5", 2, false},
		"the mesh's own namespace":               {`cpu{namespace="$namespace"}`, time.Time{}, map[string]string{`cpu{namespace="mesh-1"}`: burning}, `cpu{namespace="mesh-1"} is 7`, 1, false},
		"a scalar":                               {"scalar(x)", time.Time{}, map[string]string{"scalar": `{"resultType":"scalar","result":[1,"2"]}`}, "scalar(x) is 2", 1, false},
		"a scalar that is 0":                     {"scalar(x)", time.Time{}, map[string]string{"scalar": `{"resultType":"scalar","result":[1,"0"]}`}, "", 1, false},
		"a scalar that is no number":             {"scalar(x)", time.Time{}, map[string]string{"scalar": `{"resultType":"scalar","result":[1,"NaN"]}`}, "", 1, false},
		"off":                                    {Off, long, map[string]string{clients: starving}, "", 0, false},
	} {
		s := &server{answers: tc.answers}
		a, err := Guard{Prometheus: s.client(t).Unrecorded(), Namespace: "mesh-1", Expression: tc.expression}.Look(t.Context(), tc.calm, now)
		got := ""
		if a != nil {
			got = a.String()
			if !a.At.Equal(now) {
				t.Errorf("%s: at %v", name, a.At)
			}
		}
		if (err != nil) != tc.fails || (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) || len(s.asked) != tc.asked {
			t.Errorf("%s: %q after %q: %v", name, got, s.asked, err)
		}
		for _, q := range s.asked {
			if strings.Contains(q, Namespace) || strings.Contains(q, clients) && !strings.Contains(q, `namespace="mesh-1"`) {
				t.Errorf("%s: asks about no namespace: %s", name, q)
			}
		}
	}
}

// TestUnrecorded sees that what a guard asks is not taken for what a criterion asked.
func TestUnrecorded(t *testing.T) {
	c := (&server{}).client(t)
	before := time.Now()
	if _, err := (Guard{Prometheus: c.Unrecorded(), Namespace: "mesh-1"}).Look(t.Context(), now.Add(-time.Hour), now); err != nil {
		t.Fatal(err)
	}
	if asked := c.Asked("mesh-1", before); len(asked) != 0 {
		t.Errorf("recorded: %v", asked)
	}
}

func TestCheck(t *testing.T) {
	const matrix = `{"resultType":"matrix","result":[]}`
	for expression, tc := range map[string]struct {
		answer string
		usage  bool
		fails  bool
	}{
		"":           {"bad: never asked", false, false},
		Off:          {"bad: never asked", false, false},
		"up > 2":     {`{"resultType":"vector","result":[]}`, false, false},
		"up >":       {"bad: unexpected end of input", true, true},
		"up[1m]":     {matrix, true, true},
		"unanswered": {"", false, true},
	} {
		s := &server{answers: map[string]string{"u": tc.answer}}
		err := Check(t.Context(), s.client(t).Unrecorded(), expression, now)
		if errors.Is(err, ErrExpression) != tc.usage || (err != nil) != tc.fails {
			t.Errorf("%q: %v", expression, err)
		}
	}
}
