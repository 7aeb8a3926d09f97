package scenario

import (
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// A journal that begins with the node's return has forgotten what was before, whatever it
// holds by now.
func TestContinued(t *testing.T) {
	at := func(s int) event.Entry { return event.Entry{Time: time.Unix(int64(s), 0)} }
	for name, c := range map[string]struct {
		entries []event.Entry
		want    report.Verdict
	}{
		"goes on":            {[]event.Entry{at(9), at(40)}, report.Passed},
		"nothing new yet":    {[]event.Entry{at(9)}, report.Passed},
		"begins anew":        {[]event.Entry{at(40), at(41)}, report.Failed},
		"begins as it fails": {[]event.Entry{at(10)}, report.Failed},
		"empty":              {nil, report.Failed},
	} {
		if err := continued("b", c.entries, time.Unix(10, 0)); verdict.Of(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
