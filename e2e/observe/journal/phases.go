package journal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Phases tells what a loop did under incidents, in lines for people: one for each incident and
// phase, in the order in which they began. Entries of no incident, and the beginnings of
// actions, are left out.
func Phases(entries []event.Entry) []string {
	type part struct {
		incident string
		phase    event.Phase
	}
	var order []part
	of := map[part][]event.Entry{}
	for _, e := range entries {
		if e.Incident == "" || e.Detail[event.DetailOutcome] == "started" {
			continue
		}
		p := part{e.Incident, e.Phase}
		if of[p] == nil {
			order = append(order, p)
		}
		of[p] = append(of[p], e)
	}
	var lines []string
	for _, p := range order {
		first := of[p][0]
		line := fmt.Sprintf("%s  %s  %-9s  %s", first.Time.UTC().Format("15:04:05.000"), first.Node, p.phase, strings.Join(said(of[p]), ", "))
		if about := subjects(of[p]); len(about) > 0 {
			line += ": " + strings.Join(about, " ")
		}
		lines = append(lines, line)
	}
	return lines
}

// said are what entries of one phase tell, each once.
func said(entries []event.Entry) (words []string) {
	for _, e := range entries {
		w := e.Kind
		switch {
		case e.Phase == event.Execute && e.Detail[event.DetailOutcome] != metric.OutcomeDone:
			w += " " + e.Detail[event.DetailOutcome]
		case e.Phase == event.Knowledge && e.Detail["action"] != "":
			w += " " + e.Detail["action"]
		case e.Detail[event.DetailType] != "": // what is over, or kept
			w += " " + e.Detail[event.DetailType]
			if s, err := strconv.ParseFloat(e.Detail[event.DetailSeconds], 64); err == nil {
				w += " after " + time.Duration(s*float64(time.Second)).Round(100*time.Millisecond).String()
			}
		}
		if !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return words
}

// subjects are whom entries are about, sorted; not the node itself.
func subjects(entries []event.Entry) (names []string) {
	for _, e := range entries {
		for n := range strings.SplitSeq(e.Subject+","+e.Detail[event.DetailPeers], ",") {
			if n != "" && n != e.Node && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	slices.Sort(names)
	return names
}
