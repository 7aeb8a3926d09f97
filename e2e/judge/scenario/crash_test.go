package scenario

import (
	"testing"
	"time"

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
