package report

import (
	"strings"
	"time"
)

// Abort is why a scenario was stopped before its end, and its fault taken back.
type Abort struct {
	Expression string    `json:"expression"`       // PromQL
	Series     string    `json:"series,omitempty"` // the first that it returned
	Value      string    `json:"value"`            // of that; text, as it may be no number that JSON has
	At         time.Time `json:"at"`
}

// String tells a person what was seen.
func (a Abort) String() string {
	return strings.Join(strings.Fields(a.Expression+" is "+a.Value+" "+of(a.Series)), " ")
}

func of(series string) string {
	if series == "" {
		return ""
	}
	return "for " + series
}

// abort gives the criteria that an abort kept from being judged that for a verdict.
func (sc *Scenario) abort(a Abort) {
	sc.Aborted = &a
	for i := range sc.Criteria {
		if c := &sc.Criteria[i]; !c.judged() {
			c.Verdict, c.Cause, c.Detail = Aborted, "", brief("the scenario was aborted: "+a.String())
		}
	}
}
