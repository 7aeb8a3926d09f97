package scenario

import (
	"errors"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

func TestLostAt(t *testing.T) {
	killed, died := at(1000), at(3000)
	for name, c := range map[string]struct {
		successor []event.Entry
		want      time.Time
	}{
		"no successor yet":                     {nil, died},
		"a successor after its death":          {[]event.Entry{{Time: at(3500)}, {Time: at(4000)}}, died},
		"a successor while its processes end":  {[]event.Entry{{Time: at(1700)}, {Time: at(2000)}}, at(1700)},
		"entries of the node before its death": {[]event.Entry{{Time: at(500)}, {Time: at(1700)}}, at(1700)},
	} {
		if got := LostAt(killed, died, c.successor); !got.Equal(c.want) {
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
