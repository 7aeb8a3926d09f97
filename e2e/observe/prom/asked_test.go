package prom

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"
)

// answering returns a client of a server that has one answer for every query, and the
// queries that it was asked.
func answering(t *testing.T, answer string) (*Client, *[]string) {
	t.Helper()
	var asked []string
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		form, err := url.ParseQuery(string(b))
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, form.Get("query"))
		fmt.Fprintf(w, `{"status":"success","data":%s}`, answer)
	}))
	t.Cleanup(h.Close)
	c, err := New(&rest.Config{Host: h.URL}, "monitoring/prometheus:9090")
	if err != nil {
		t.Fatal(err)
	}
	return c, &asked
}

const vector = `{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1,"1"]}]}`

func TestAsked(t *testing.T) {
	c, _ := answering(t, vector)
	at := time.Unix(1_000, 0)
	c.now = func() time.Time { at = at.Add(time.Second); return at }
	ask := func(metric, namespace string) {
		t.Helper()
		if _, err := c.Now(metric, nil, namespace, []string{"a"})(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ask("before", "x")
	since := time.Now()
	ask("m", "x")
	ask("other", "y")
	ask("n", "x")
	ask("m", "x") // again, and it counts when it was asked last
	var got []string
	for _, q := range c.Asked("x", since) {
		got = append(got, q.String())
	}
	if want := []string{`n{namespace="x"} @ 1004.000`, `m{namespace="x"} @ 1005.000`}; !reflect.DeepEqual(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	if n := len(c.Asked("x", time.Time{})); n != 3 {
		t.Errorf("%d questions in all, want 3", n)
	}
}

// A range moves on while a question is asked again and again: it stays one question.
func TestAskedAgainIsOneQuestion(t *testing.T) {
	c, _ := answering(t, `{"resultType":"matrix","result":[{"metric":{"pod":"a"},"values":[[1000,"1"],[1001,"1"],[1002,"1"]]}]}`)
	for second := range int64(3) {
		c.now = func() time.Time { return time.Unix(1_002+second, 0) }
		if _, err := c.Growth("m", nil, Window{Namespace: "x", Pods: []string{"a"}, Start: time.Unix(1_000, 0)})(t.Context()); err != nil {
			t.Log(err) // its coverage is not what this is about
		}
	}
	asked := c.Asked("x", time.Time{})
	if want := `m{namespace="x"}[304000ms] @ 1004.000`; len(asked) != 1 || asked[0].String() != want {
		t.Errorf("asked %v, want %s", asked, want)
	}
}

func TestQuestionThatIsNoSelector(t *testing.T) {
	q := Question{Query: `rate(m{namespace="x"}[1s]) / n{namespace="x"}`, At: time.Unix(0, 0)}
	if want := q.Query + " # at 1970-01-01T00:00:00Z"; q.String() != want {
		t.Errorf("got %s, want %s", q, want)
	}
}

func TestCurves(t *testing.T) {
	c, queries := answering(t, vector)
	from := time.Unix(1_000, 0)
	for _, m := range []string{"m", "h_bucket"} {
		if _, err := c.Now(m, nil, "x", []string{"a"})(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, _, err := c.API().Query(t.Context(), `sum(m{namespace="x"})`, from); err != nil { // no selector, no curve
		t.Fatal(err)
	}
	matrix, asked := answering(t, `{"resultType":"matrix","result":[{"metric":{"pod":"a"},"values":[[1000,"1"],[1001,"NaN"],[1002,"2"]]}]}`)
	matrix.api.asked = c.api.asked
	curves, err := matrix.Curves(t.Context(), "x", from, from.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`sum by (pod) (m{namespace="x"})`, `histogram_quantile(0.5, sum by (pod, le) (rate(h_bucket{namespace="x"}[15s])))`}
	if !reflect.DeepEqual(*asked, want) {
		t.Errorf("asked %q, want %q", *asked, want)
	}
	points := []Point{{from, 1}, {from.Add(2 * time.Second), 2}}
	for i, c := range curves {
		if c.Query != want[i] || len(c.Pods["a"]) != 2 || !c.Pods["a"][1].At.Equal(points[1].At) || c.Pods["a"][1].Value != 2 {
			t.Errorf("curve %d is %+v", i, c)
		}
	}
	if n := len(matrix.Asked("x", time.Time{})); n != 3 {
		t.Errorf("to draw is to ask: %d questions, not 3", n)
	}
	if n := len(*queries); n != 3 {
		t.Fatalf("%d queries: %s", n, strings.Join(*queries, "\n"))
	}
}

func TestBends(t *testing.T) {
	var line []model.SamplePair
	for i, v := range []model.SampleValue{0, 0, 0, 0, 1, 1, 1, 2} {
		line = append(line, model.SamplePair{Timestamp: model.Time(i * 1000), Value: v})
	}
	var got []int64
	for _, p := range bends(line) {
		got = append(got, p.At.Unix())
	}
	if want := []int64{0, 3, 4, 6, 7}; !reflect.DeepEqual(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}
