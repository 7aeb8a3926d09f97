package mapek

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Tick is the longest time between two Steps.
const Tick = 100 * time.Millisecond

// Config is what a Loop works with.
type Config struct {
	Policy    *Policy
	Knowledge *Knowledge
	Effector  Effector
	Metrics   *metric.Set
	// Prefix starts the incident ids; unique to this run of this node.
	Prefix string
	// Heal turns Plan and Execute on. Without it everything else goes on.
	Heal bool
	// Journal appends an entry; the journal gives it number, time and node.
	Journal func(event.Entry)
	// Keep saves what was learned.
	Keep func(*Knowledge)
	// Clock measures how long the phases take.
	Clock func() time.Time
	// Routes returns the destinations that are reached over a peer; nil: none.
	Routes func(peer string) []string
}

// Loop runs the phases. It is not safe for concurrent use.
type Loop struct {
	cfg     Config
	view    *View
	cases   *Cases
	running []Action
	failed  []Outcome
}

// NewLoop returns a Loop that has seen nothing.
func NewLoop(cfg Config) *Loop {
	return &Loop{cfg: cfg, view: NewView(), cases: NewCases(cfg.Prefix)}
}

// Open returns the incidents that are not over.
func (l *Loop) Open() []*Incident { return l.cases.Open() }

// Past returns the incidents that are over, as far as they are remembered.
func (l *Loop) Past() []Record { return l.cfg.Knowledge.Incidents }

// Slow reports whether a peer's latency is an open incident, and healing is on.
func (l *Loop) Slow(peer string) bool {
	i := l.cases.find(metric.LatencySLO, peer)
	return l.cfg.Heal && i != nil && !i.Subjects[peer].Verified
}

// Exhausted reports whether this node's lack of resources is an open incident, and
// healing is on.
func (l *Loop) Exhausted() bool {
	return l.cfg.Heal && l.cases.find(metric.ResourceExhaustion, "") != nil
}

// Blocked returns the peers that are blocked at a time.
func (l *Loop) Blocked(now time.Time) []Threat { return l.cfg.Knowledge.Blocked(now) }

// Step runs every phase once over the signals since the last Step. It must be
// called whenever there are signals, and at least every Tick.
func (l *Loop) Step(now time.Time, signals []Signal) {
	var symptoms []Symptom
	var findings []Finding
	l.phase(event.Monitor, func() { symptoms = Monitor(now, l.cfg.Policy, l.view, signals) })
	// The incident a symptom belongs to is known only after Analyze, or, for
	// the last symptom of an incident, only before.
	before := l.incidents(symptoms)
	l.phase(event.Analyze, func() { findings = Analyze(now, l.cfg.Policy, l.view, l.cases, symptoms) })
	l.journalSymptoms(symptoms, before)
	l.journalFindings(findings)

	var planned []Action
	var ended []Outcome
	if l.cfg.Heal {
		if len(findings)+len(l.failed) > 0 {
			l.phase(event.Plan, func() {
				planned = Plan(now, l.cfg.Policy, l.cases, l.cfg.Knowledge, findings, l.failed, l.running)
			})
			l.failed = nil
		}
		l.journalPlan(planned)
		if len(planned)+len(l.running) > 0 {
			l.phase(event.Execute, func() {
				l.running, ended = Execute(now, l.cfg.Effector, planned, l.running)
			})
		}
		l.journalOutcomes(ended)
	}
	l.know(now, symptoms, findings, ended)
	open := map[string]int{}
	for _, i := range l.cases.Open() {
		open[i.Type]++
	}
	for _, typ := range metric.IncidentTypes() {
		l.cfg.Metrics.IncidentsOpen.WithLabelValues(typ).Set(float64(open[typ]))
	}
}

// phase runs f and observes its duration.
func (l *Loop) phase(p event.Phase, f func()) {
	start := l.cfg.Clock()
	f()
	l.cfg.Metrics.PhaseDuration.WithLabelValues(string(p)).Observe(l.cfg.Clock().Sub(start).Seconds())
}

func (l *Loop) know(now time.Time, symptoms []Symptom, findings []Finding, ended []Outcome) {
	var learned bool
	l.cfg.Knowledge.count(symptoms)
	if len(findings)+len(ended) == 0 {
		return
	}
	for _, o := range ended {
		l.cases.did(o)
	}
	l.phase(event.Knowledge, func() {
		if learned = l.cfg.Knowledge.Learn(now, l.cfg.Policy, findings, ended); learned {
			l.cfg.Keep(l.cfg.Knowledge)
		}
	})
	for _, o := range ended {
		if o.Err != nil {
			l.failed = append(l.failed, o)
		}
		t := l.cfg.Knowledge.Actions[o.Name]
		l.cfg.Journal(event.Entry{Incident: o.Incident, Phase: event.Knowledge, Kind: event.Recorded, Subject: o.Peer, Detail: map[string]string{
			"action": o.Name, "done": strconv.Itoa(t.Done), "failed": strconv.Itoa(t.Failed),
		}})
	}
	for _, f := range findings {
		if f.Moment == Over {
			l.cfg.Journal(event.Entry{Incident: f.Incident.ID, Phase: event.Knowledge, Kind: event.Recorded, Detail: map[string]string{
				event.DetailType: f.Incident.Type, event.DetailPeers: strings.Join(f.Peers, ","),
				event.DetailSeconds: seconds(f.Incident.Resolved.Sub(f.Incident.Opened)),
			}})
		}
	}
}

func (l *Loop) incidents(symptoms []Symptom) []string {
	ids := make([]string, len(symptoms))
	for i, s := range symptoms {
		ids[i] = l.cases.Of(s.Kind, s.Peer)
	}
	return ids
}

func (l *Loop) journalSymptoms(symptoms []Symptom, before []string) {
	after := l.incidents(symptoms)
	for i, s := range symptoms {
		e := event.Entry{Incident: after[i], Phase: event.Monitor, Kind: s.Kind, Subject: s.Peer}
		if e.Incident == "" {
			e.Incident = before[i]
		}
		switch s.Kind {
		case event.PeerUnreachable:
			l.cfg.Metrics.PeerUnreachable.WithLabelValues(s.Peer).Inc()
			e.Detail = map[string]string{event.DetailSeen: strconv.FormatBool(len(s.SeenBy) > 0), event.DetailSeconds: seconds(s.Time.Sub(s.Since))}
		case event.SessionFailed:
			e.Detail = map[string]string{"failures": strconv.Itoa(s.Failures), event.DetailSession: s.Session}
		case event.FailuresHigh, event.FailuresNormal:
			e.Detail = map[string]string{"failed": strconv.Itoa(s.Share.failed), "total": strconv.Itoa(s.Share.total), event.DetailSession: s.Session}
		case event.LatencyHigh, event.LatencyNormal:
			e.Detail = map[string]string{event.DetailSeconds: seconds(s.Episode), "typical": seconds(s.Typical)}
		case event.ResourcesShort, event.ResourcesNormal:
			e.Detail = map[string]string{event.DetailReason: s.Reason, event.DetailResource: s.Resource}
		case event.ConditionRaised, event.ConditionEnded:
			e.Detail = map[string]string{event.DetailType: s.Type, event.DetailReason: s.Reason}
			if s.Of != "" {
				e.Detail[event.DetailKind] = s.Of
			}
		}
		l.cfg.Journal(e)
	}
}

func (l *Loop) journalFindings(findings []Finding) {
	for _, f := range findings {
		i := f.Incident
		e := event.Entry{Incident: i.ID, Phase: event.Analyze, Kind: i.Type, Detail: map[string]string{
			"moment": string(f.Moment), event.DetailPeers: strings.Join(f.Peers, ","),
		}}
		l.describe(e.Detail, f)
		switch f.Moment {
		case Opened:
			if !mutant.CountOnOneNode || l.cfg.Prefix < f.Peers[0] {
				l.cfg.Metrics.Detected.WithLabelValues(i.Type).Inc()
			}
			if i.Type == metric.HighFailureRate {
				l.cfg.Metrics.Anomalies.WithLabelValues(i.Type).Inc()
			}
			took := i.Opened.Sub(i.Since)
			l.cfg.Metrics.IncidentDetection.WithLabelValues(i.Type).Observe(took.Seconds())
			e.Detail[event.DetailSeconds] = seconds(took)
		case Over:
			took := i.Resolved.Sub(i.Opened)
			l.cfg.Metrics.IncidentRecovery.WithLabelValues(i.Type).Observe(took.Seconds())
			e.Kind = event.Resolved
			e.Detail[event.DetailType] = i.Type
			e.Detail[event.DetailSeconds] = seconds(took)
		}
		l.cfg.Journal(e)
	}
}

// describe adds to the entry of a finding what is particular to its incident.
func (l *Loop) describe(detail map[string]string, f Finding) {
	switch i := f.Incident; i.Type {
	case metric.VerificationFailed, metric.HighFailureRate:
		detail[event.DetailSession] = strings.Join(i.sessions(f.Peers), ",")
	case metric.ResourceExhaustion:
		detail[event.DetailResource], detail[event.DetailReason] = i.Resource, i.Reason
	case metric.StorageFault, metric.ClockSkew:
		detail[event.DetailKind], detail[event.DetailReason] = i.Kind, i.Reason
	case metric.LatencySLO:
		var routes []string
		for _, peer := range f.Peers {
			if l.cfg.Routes != nil {
				routes = append(routes, l.cfg.Routes(peer)...)
			}
		}
		slices.Sort(routes)
		detail[event.DetailRoutes] = strings.Join(slices.Compact(routes), ",")
	}
}

func (l *Loop) journalPlan(planned []Action) {
	for _, a := range planned {
		l.cfg.Journal(event.Entry{Incident: a.Incident, Phase: event.Plan, Kind: a.Name, Subject: a.Peer, Detail: map[string]string{"attempt": strconv.Itoa(a.Attempt)}})
		l.cfg.Journal(event.Entry{Incident: a.Incident, Phase: event.Execute, Kind: a.Name, Subject: a.Peer, Detail: map[string]string{event.DetailOutcome: "started"}})
	}
}

func (l *Loop) journalOutcomes(ended []Outcome) {
	for _, o := range ended {
		outcome := o.outcome()
		detail := map[string]string{event.DetailSeconds: seconds(o.Took)}
		if o.Err != nil {
			detail[event.DetailError] = o.Err.Error()
		}
		detail[event.DetailOutcome] = outcome
		l.cfg.Metrics.Healing.WithLabelValues(o.Name, outcome).Inc()
		l.cfg.Journal(event.Entry{Incident: o.Incident, Phase: event.Execute, Kind: o.Name, Subject: o.Peer, Detail: detail})
	}
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }
