package pulse

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// answers is a server that answers a query by what it contains.
type answers map[string]model.Value

func (a answers) Query(_ context.Context, query string, _ time.Time, _ ...promv1.Option) (model.Value, promv1.Warnings, promv1.Infos, error) {
	for part, v := range a {
		if strings.Contains(query, part) {
			if !strings.Contains(query, `namespace="mesh-1"`) {
				return nil, nil, nil, errors.New("is not about the mesh: " + query)
			}
			return v, nil, nil, nil
		}
	}
	return nil, nil, nil, errors.New("not answered")
}

func sample(v float64, labels ...model.LabelValue) *model.Sample {
	m := model.Metric{}
	for i := 0; i < len(labels); i += 2 {
		m[model.LabelName(labels[i])] = labels[i+1]
	}
	return &model.Sample{Metric: m, Value: model.SampleValue(v)}
}

func TestLook(t *testing.T) {
	none := model.Vector{}
	for name, tc := range map[string]struct {
		of    answers
		want  Beat
		fails bool
	}{
		"at rest": {answers{"operations": none, "incidents_open": none}, Beat{}, false},
		"all there is": {
			answers{
				"operations": model.Vector{sample(4, "result", "ok"), sample(0.5, "result", "fail"), sample(0.25, "result", "unknown")},
				"incidents_open": model.Vector{
					sample(1, "pod", "b", "type", "node_crash"), sample(1, "pod", "a", "type", "node_crash"), sample(1, "pod", "b", "type", "latency_slo"),
				},
			},
			Beat{4.75, 0.75, true, []Incident{{"b", "latency_slo"}, {"a", "node_crash"}, {"b", "node_crash"}}}, false,
		},
		"no answer":      {answers{"operations": none}, Beat{}, true},
		"another answer": {answers{"operations": &model.Scalar{}}, Beat{}, true},
	} {
		got, err := Look(t.Context(), tc.of, "mesh-1", time.Unix(1, 0))
		if (err != nil) != tc.fails || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestSince(t *testing.T) {
	a, b, c := Incident{"x", "a"}, Incident{"x", "b"}, Incident{"y", "a"}
	opened, closed := Beat{Incidents: []Incident{b, c}}.Since(Beat{Incidents: []Incident{a, b}})
	if !reflect.DeepEqual(opened, []Incident{c}) || !reflect.DeepEqual(closed, []Incident{a}) {
		t.Errorf("opened %v, closed %v", opened, closed)
	}
}
