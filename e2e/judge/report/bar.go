package report

import (
	"math"
	"strconv"
	"strings"
)

// Bar is a number that a criterion holds the growth of a metric in each pod against, counted
// from its fault: what a chart of the metric can show of the criterion.
type Bar struct {
	Metric   string            `json:"metric"` // of a histogram its median is meant
	Labels   map[string]string `json:"labels,omitempty"`
	Expected string            `json:"expected"` // with its relation, in the metric's own unit: "≥ 6"
}

// Value is the bar's number. It is false where there is none to draw.
func (b Bar) Value() (v float64, ok bool) {
	_, number, _ := strings.Cut(b.Expected, " ")
	v, err := strconv.ParseFloat(number, 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}
