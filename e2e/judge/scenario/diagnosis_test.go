package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

func TestMisdiagnoses(t *testing.T) {
	allowed := []Diagnosis{
		{From: at(1000), To: at(2000), Incidents: []string{metric.NetworkPartition}},
		{From: at(5000), To: at(6000), Incidents: []string{metric.NodeCrash, metric.LinkFailure}, About: []string{"b"}},
	}
	for name, c := range map[string]struct {
		entries []event.Entry
		want    string // of the incident; empty: all are allowed
	}{
		"nothing":                           {nil, ""},
		"the fault's own":                   {[]event.Entry{analyzed("1", metric.NetworkPartition, 1500, "b", "c")}, ""},
		"another type":                      {[]event.Entry{analyzed("1", metric.LinkFailure, 1500, "b")}, "link_failure"},
		"one that turns into another type":  {[]event.Entry{analyzed("1", metric.NetworkPartition, 1500, "b"), analyzed("1", metric.NodeCrash, 1600, "b")}, "network_partition→node_crash"},
		"one that was another type before":  {[]event.Entry{analyzed("1", metric.LinkFailure, 1500, "b"), analyzed("1", metric.NetworkPartition, 1600, "b")}, "link_failure→network_partition"},
		"turned long after the fault":       {[]event.Entry{analyzed("1", metric.NetworkPartition, 1500, "b"), analyzed("1", metric.NodeCrash, 9000, "b")}, "network_partition→node_crash"},
		"between the faults":                {[]event.Entry{analyzed("1", metric.NetworkPartition, 3000, "b")}, "network_partition"},
		"of the other fault":                {[]event.Entry{analyzed("1", metric.NetworkPartition, 5500, "b")}, "network_partition"},
		"one of two types":                  {[]event.Entry{analyzed("1", metric.LinkFailure, 5500, "b"), analyzed("1", metric.NodeCrash, 5600, "b")}, ""},
		"about another peer":                {[]event.Entry{analyzed("1", metric.NodeCrash, 5500, "c")}, "about c"},
		"about another peer beside the one": {[]event.Entry{analyzed("1", metric.NodeCrash, 5500, "b"), analyzed("1", metric.NodeCrash, 5600, "c")}, "about b,c"},
		"before the first fault":            {[]event.Entry{analyzed("1", metric.LinkFailure, 900, "b")}, ""},
		"after the last one's tail":         {[]event.Entry{analyzed("1", metric.LinkFailure, 6001, "b")}, ""},
	} {
		got := misdiagnosed("a", c.entries, at(1000), at(6000), allowed)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want) || !strings.HasPrefix(got[0], "a: ")) {
			t.Errorf("%s: got %v, want %q", name, got, c.want)
		}
	}
	if got := misdiagnosed("a", []event.Entry{analyzed("1", metric.LinkFailure, 1500, "b")}, at(1000), at(2000), []Diagnosis{{From: at(1000), To: at(2000)}}); len(got) != 1 {
		t.Errorf("under a fault that allows nothing: %v", got)
	}
}

// A fault that never was, or goes on, leaves nothing to be concluded: an empty window
// would hold no wrong incident either.
func TestMisdiagnosesNeedTheirFaults(t *testing.T) {
	over := &Episode{Window: prom.Window{Start: time.Now().Add(-time.Hour), End: time.Now().Add(-time.Minute)}}
	for name, e := range map[string]*Episode{
		"one that goes on":       {Window: prom.Window{Start: time.Now().Add(-time.Minute)}},
		"one whose tail goes on": {Window: prom.Window{Start: time.Now().Add(-time.Minute), End: time.Now()}},
		"one that was not begun": {},
	} {
		if got, err := new(Run).misdiagnoses(t.Context(), []Diagnosis{over.may(), e.may()}); verdict.Of(err) != report.Invalid {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// The tail belongs to the fault.
func TestMayCoversTheTail(t *testing.T) {
	d := (&Episode{Window: prom.Window{Start: at(0), End: at(1000)}}).may(metric.NodeCrash).only("b")
	if !d.From.Equal(at(0)) || !d.To.Equal(at(1000).Add(Tail)) || len(d.Incidents) != 1 || len(d.About) != 1 {
		t.Errorf("got %+v", d)
	}
}
