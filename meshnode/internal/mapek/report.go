package mapek

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Report is what the loop knows, for people and programs. The weights of links are
// left to who measures links.
func (l *Loop) Report(now time.Time) api.Knowledge {
	k := l.cfg.Knowledge
	r := api.Knowledge{
		Events: []api.Event{}, Outcomes: map[string]api.Tally{}, Weights: map[string]float64{}, Availability: l.Availability(now),
		Threats: []api.Threat{}, Latency: []api.LatencyPattern{}, Recommendation: k.Exhaustion.recommend(&l.cfg.Policy.Resources),
	}
	for _, i := range k.Incidents {
		r.Events = append(r.Events, i.report(i.Resolved))
	}
	for _, i := range l.cases.Open() {
		open := i.record()
		r.Events = append(r.Events, open.report(now))
	}
	for name, t := range k.Actions {
		r.Outcomes[name] = api.Tally(*t)
	}
	for _, t := range k.Threats {
		r.Threats = append(r.Threats, api.Threat{
			Peer: t.Peer, Type: t.Type, Count: t.Count, Strikes: t.Strikes, First: t.First, Last: t.Last, BlockedUntil: t.Until,
		})
	}
	for _, p := range k.Latency {
		r.Latency = append(r.Latency, api.LatencyPattern{
			Peer: p.Peer, TypicalSeconds: p.Typical.Seconds(), EpisodeSeconds: p.Episode.Seconds(), Count: p.Count, Last: p.Last,
		})
	}
	return r
}

// report describes an incident that lasted until a time.
func (r *Record) report(until time.Time) api.Event {
	e := api.Event{
		ID: r.ID, Type: r.Type, Peers: r.Peers, Opened: r.Opened, Resolved: r.Resolved,
		Seconds: until.Sub(r.Opened).Seconds(), Resource: r.Resource, Kind: r.Kind, Reason: r.Reason, Actions: []api.EventAction{},
	}
	if e.Peers == nil {
		e.Peers = []string{}
	}
	for _, a := range r.Actions {
		e.Actions = append(e.Actions, api.EventAction(a))
	}
	return e
}
