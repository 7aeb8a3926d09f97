package scenario

import (
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

func analyzed(id, kind string, ms int, peers ...string) event.Entry {
	return event.Entry{
		Incident: id, Phase: event.Analyze, Kind: kind, Time: at(ms), Detail: map[string]string{event.DetailPeers: strings.Join(peers, ",")},
	}
}

// What a node's journal must hold of a fault is one incident, about its victims.
func TestLoopFindsItsOneIncident(t *testing.T) {
	l := &Loop{
		Incident: metric.NetworkPartition, About: map[string][]string{"a": {"c", "b"}, "s": nil}, From: at(100), To: at(1000),
	}
	right := analyzed("1", metric.NetworkPartition, 200, "b", "c")
	for name, c := range map[string]struct {
		node    string
		entries []event.Entry
		want    string // empty: found
	}{
		"the one":                         {"a", []event.Entry{right}, ""},
		"of which more peers came later":  {"a", []event.Entry{analyzed("1", metric.LinkFailure, 150, "b"), right}, ""},
		"beside one of another type":      {"a", []event.Entry{right, analyzed("2", metric.LatencySLO, 300, "b")}, ""},
		"beside one of an earlier fault":  {"a", []event.Entry{analyzed("0", metric.NetworkPartition, 50, "b", "c"), right}, ""},
		"about itself":                    {"s", []event.Entry{analyzed("1", metric.NetworkPartition, 200, "s")}, ""},
		"none":                            {"a", nil, "holds no network_partition"},
		"one of another type":             {"a", []event.Entry{analyzed("1", metric.LinkFailure, 200, "b", "c")}, "holds no network_partition"},
		"one that opened before":          {"a", []event.Entry{analyzed("1", metric.NetworkPartition, 100, "b", "c")}, "holds no network_partition"},
		"one that opened after the fault": {"a", []event.Entry{analyzed("1", metric.NetworkPartition, 1001, "b", "c")}, "holds no network_partition"},
		"without one of the lost":         {"a", []event.Entry{analyzed("1", metric.NetworkPartition, 200, "b")}, "not one about b, c"},
		"with one that was not lost":      {"a", []event.Entry{analyzed("1", metric.NetworkPartition, 200, "b", "c", "d")}, "not one about b, c"},
		"about another":                   {"s", []event.Entry{analyzed("1", metric.NetworkPartition, 200, "a")}, "not one about s"},
		"one for each of the lost": {"a", []event.Entry{analyzed("1", metric.NetworkPartition, 200, "b"), analyzed("2", metric.NetworkPartition, 210, "c")},
			"2 incidents"},
		"the same a second time": {"a", []event.Entry{right, analyzed("2", metric.NetworkPartition, 900, "b", "c")}, "2 incidents"},
		"another beside it":      {"a", []event.Entry{right, analyzed("2", metric.NetworkPartition, 900, "d")}, "2 incidents"},
	} {
		i, err := l.in(c.node, c.entries)
		if c.want == "" && (err != nil || i.ID != "1") {
			t.Errorf("%s: got %v, %v", name, i, err)
		}
		if c.want != "" && (verdict.Of(err) != report.Failed || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, %v, want a failure with %q", name, i, err, c.want)
		}
	}
}
