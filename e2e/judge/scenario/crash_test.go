package scenario

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

func TestLostAt(t *testing.T) {
	started, died := at(1600), at(3000)
	for name, c := range map[string]struct {
		entries []event.Entry
		want    time.Time
	}{
		"no entry yet":                        {nil, died},
		"a successor after its death":         {[]event.Entry{{Time: at(3500)}, {Time: at(4000)}}, died},
		"a successor while its processes end": {[]event.Entry{{Time: at(1700)}, {Time: at(2000)}}, at(1700)},
		// The journal goes on: the victim, killed at 1000, has written until 1500.
		"entries of the node before its death":     {[]event.Entry{{Time: at(500)}, {Time: at(1500)}, {Time: at(1700)}}, at(1700)},
		"entries of the node, and no other's":      {[]event.Entry{{Time: at(500)}, {Time: at(1500)}}, died},
		"entries of both, the other's after death": {[]event.Entry{{Time: at(1500)}, {Time: at(3500)}}, died},
	} {
		if got := LostAt(started, died, c.entries); !got.Equal(c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestMigrations: a session that nobody uses counts as any other, and one that is counted
// twice, or never, is a shortfall.
func TestMigrations(t *testing.T) {
	for name, c := range map[string]struct {
		known, told, counted float64
		short, unproven      bool
	}{
		"each one once":                   {6, 6, 6, false, false},
		"one more than the clients know":  {6, 7, 7, false, false},
		"one counted twice":               {6, 6, 7, true, false},
		"one never counted":               {6, 6, 5, true, false},
		"one that nobody uses, forgotten": {6, 7, 6, true, false},
		"fewer told than known":           {6, 5, 6, false, true},
	} {
		err := migrations(c.known, c.told, c.counted)
		_, short := errors.AsType[*verdict.Shortfall](err)
		if short != c.short || (err != nil && !short) != c.unproven {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHomed: a crash waits until all that clients want is made, and told of by its home.
func TestHomed(t *testing.T) {
	all := map[string]float64{"a": 3, "b": 2}
	for name, c := range map[string]struct {
		want, made int
		told       map[string]float64
		ok         bool
	}{
		"all":                          {5, 5, all, true},
		"one more, which is nobody's":  {5, 5, map[string]float64{"a": 3, "b": 3}, true},
		"one not made yet":             {5, 4, all, false},
		"one not told of yet":          {5, 5, map[string]float64{"a": 3, "b": 1}, false},
		"a node that is home to none":  {5, 5, map[string]float64{"a": 5, "b": 0}, false},
		"no client that wants any yet": {0, 0, map[string]float64{"a": 0, "b": 0}, false},
	} {
		if err := homed(c.want, c.made, c.told); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSessionsOfClients(t *testing.T) {
	client := corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Args: []string{"client", "--sessions=40", "--rate=1"}}}}}
	if n := keeps([]corev1.Pod{client, client}); n != 80 {
		t.Errorf("two clients keep %d", n)
	}
	ops := []api.Operation{
		{Op: api.OpSession, ID: "1", Result: api.OK}, {Op: api.OpSession, ID: "1", Result: api.OK},
		{Op: api.OpSession, ID: "2", Result: api.Unknown}, {Op: api.OpWrite, ID: "3", Result: api.OK},
	}
	if n := sessions(ops); n != 1 {
		t.Errorf("%d sessions were made, want 1", n)
	}
}
