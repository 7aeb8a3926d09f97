package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Guest is a pod that was a node of the mesh for a while only: one that came after the mesh was deployed, and goes
// often before anything is judged. So its journal is not read. What it counted outlives it: of which types its
// incidents were, but not about whom.
type Guest struct {
	Name string
	// Opened is how many incidents of each type it opened.
	Opened map[string]float64
}

// guests returns what the guests of a time found in it.
func (r *Run) guests(ctx context.Context, from, to time.Time) ([]Guest, error) {
	if r.artefacts != nil {
		return r.visited, nil
	}
	if _, err := r.ever(); err != nil {
		return nil, err
	}
	r.visited = nil
	for _, s := range r.roster.unread(r.Nodes) {
		w, was := s.during(prom.Window{Namespace: r.Mesh.Namespace, Start: from, End: to})
		if !was {
			continue
		}
		opened, err := Read(ctx, func(ctx context.Context) (map[string]float64, error) {
			opened, last, err := r.Prom.Counted(ctx, metric.AnomaliesDetected, metric.LabelType, w, s.name)
			if err == nil {
				err = s.seen(last, w.End)
			}
			return opened, err
		})
		if err != nil {
			return nil, err
		}
		r.visited = append(r.visited, Guest{s.name, opened})
	}
	return r.visited, nil
}

// misdiagnosed names the types of the guest's incidents that nothing allows at any time.
func (g Guest) misdiagnosed(allowed []Diagnosis) (wrong []string) {
	for _, typ := range slices.Sorted(maps.Keys(g.Opened)) {
		if n := g.Opened[typ]; n > 0 && !slices.ContainsFunc(allowed, func(d Diagnosis) bool { return d.mayOpen(typ, g.Name) }) {
			wrong = append(wrong, fmt.Sprintf("%s: %s, %v times by its own count", g.Name, typ, n))
		}
	}
	return wrong
}

// ofItself are the types of incidents that are about the node which opens them, whoever that is.
var ofItself = []string{metric.ResourceExhaustion, metric.StorageFault}

// mayOpen reports whether the diagnosis allows a node an incident of a type, about somebody.
func (d Diagnosis) mayOpen(typ, node string) bool {
	about := len(d.About) == 0 || slices.Contains(d.About, node) || !slices.Contains(ofItself, typ)
	return about && slices.Contains(d.Incidents, typ)
}

// scrapedWithin is how long Prometheus may take to find a pod that is ready, and to scrape it: its discovery
// tells of changes every five seconds.
const scrapedWithin = 10 * time.Second

// seen checks that a stay was scraped up to its end in a window: absent is not zero. Of one that had just begun nobody
// can be sure to know.
func (s stay) seen(last, end time.Time) error {
	if latest := end.Add(-scrapedWithin); s.ready.Before(latest) && last.Before(latest) {
		return fmt.Errorf("%s was a node from %s to %s and not scraped in the last %v of that: what it found is not known", s.name,
			s.ready.UTC().Format(time.TimeOnly), end.UTC().Format(time.TimeOnly), scrapedWithin)
	}
	return nil
}
