package mapek

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Duration is a time.Duration that YAML writes as "200ms".
type Duration time.Duration

// UnmarshalJSON decodes a Go duration.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("want a duration such as \"200ms\", not %s", b)
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// Policy is the loop's data: limits, and what to do at which moment.
type Policy struct {
	Settle     Duration       `json:"settle"`
	Correlate  Duration       `json:"correlate"`
	Failures   int            `json:"failures"`
	Quiet      Duration       `json:"quiet"`
	Rate       float64        `json:"rate"`
	RateMin    int            `json:"rate_min"`
	Latency    Duration       `json:"latency"`
	LatencyFor Duration       `json:"latency_for"`
	Resources  ResourceLimits `json:"resources"`
	Storage    StorageLimits  `json:"storage"`
	Clock      ClockLimits    `json:"clock"`
	// A peer that reaches Failures for the Strikes-th time, with no more than
	// StrikeWindow between two, has relapsed. Block is how long block_peer lasts.
	Strikes      int              `json:"strikes"`
	StrikeWindow Duration         `json:"strike_window"`
	Block        Duration         `json:"block"`
	Rules        []Rule           `json:"rules"`
	Actions      map[string]Limit `json:"actions"`
}

// ResourceLimits say when this node lacks resources: when at least one of them is reached
// in every sample of For, until all are below Release of theirs in every sample
// of Rest. See Load.
type ResourceLimits struct {
	CPU       float64  `json:"cpu"`
	Throttled float64  `json:"throttled"`
	Memory    float64  `json:"memory"`
	Queued    Duration `json:"queued"`
	Lag       Duration `json:"lag"`
	Release   float64  `json:"release"`
	For       Duration `json:"for"`
	Rest      Duration `json:"rest"`
}

// StorageLimits say when the store's disk is at fault: when a commit fails, or when all of
// For commits take longer than Latency; until all of Rest are good. A fault that has lasted
// for Replace calls for another node.
type StorageLimits struct {
	Latency Duration `json:"latency"`
	For     Duration `json:"for"`
	Rest    Duration `json:"rest"`
	Replace Duration `json:"replace"`
}

// ClockLimits say when a clock is wrong: when all of For it is further than Skew from the
// time that most nodes agree on.
type ClockLimits struct {
	Skew Duration `json:"skew"`
	For  Duration `json:"for"`
	Rest Duration `json:"rest"`
}

// Rule names the actions for one moment of incidents of one type; of those kinds only, if
// any are named.
type Rule struct {
	Incident string   `json:"incident"`
	When     Moment   `json:"when"`
	Kinds    []string `json:"kinds,omitempty"`
	Do       []string `json:"do"`
}

// kinds are those that incidents of a type may have.
var kinds = map[string][]string{metric.StorageFault: metric.StorageFaults(), metric.ClockSkew: metric.ClockKinds()}

// Limit bounds an action: its effect must be observed within Deadline, and it
// is tried at most Attempts times.
type Limit struct {
	Deadline Duration `json:"deadline"`
	Attempts int      `json:"attempts"`
}

//go:embed policy.yaml
var defaultPolicy []byte

// DefaultPolicy returns the policy that is built in.
func DefaultPolicy() *Policy {
	p, err := ParsePolicy(defaultPolicy)
	if err != nil {
		panic("mapek: built-in policy: " + err.Error()) // a test parses it
	}
	return p
}

// supported are the actions that a rule may name.
var supported = []string{
	metric.ActivateBackupRoutes,
	metric.ReverifySessions,
	metric.InvalidateSession,
	metric.RotateKeys,
	metric.ExtendTimeouts,
	metric.UpdateRouteWeights,
	metric.ShedLowPriority,
	metric.YieldSessions,
	metric.RequestScaleUp,
	metric.BlockPeer,
	metric.MigrateSessions,
	metric.StopWrites,
	metric.RecoverStore,
	metric.RequestReplacement,
	metric.CorrectClock,
}

// analyzed are the incident types that Analyze knows.
var analyzed = metric.IncidentTypes()

var moments = []Moment{Opened, PeerReturned, Repeated, Relapsed, Quiet, Lasting, Over}

// ParsePolicy decodes and validates a policy. Unknown fields are errors; the
// error lists everything that is wrong.
func ParsePolicy(b []byte) (*Policy, error) {
	p := &Policy{}
	if err := yaml.UnmarshalStrict(b, p); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return p, p.validate()
}

func (p *Policy) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("policy: "+format, args...)) }
	between := func(name string, d Duration, low, high time.Duration) {
		if time.Duration(d) < low || time.Duration(d) > high {
			bad("%s is %v, want %v to %v", name, time.Duration(d), low, high)
		}
	}
	between("settle", p.Settle, 50*time.Millisecond, 5*time.Second)
	between("correlate", p.Correlate, time.Duration(p.Settle), time.Hour)
	between("quiet", p.Quiet, 100*time.Millisecond, time.Hour)
	between("latency", p.Latency, time.Millisecond, time.Minute)
	between("latency_for", p.LatencyFor, 200*time.Millisecond, time.Hour)
	between("strike_window", p.StrikeWindow, time.Second, 24*time.Hour)
	between("block", p.Block, time.Second, 24*time.Hour)
	between("resources.queued", p.Resources.Queued, 10*time.Millisecond, time.Minute)
	between("resources.lag", p.Resources.Lag, 10*time.Millisecond, time.Minute)
	between("resources.for", p.Resources.For, 0, time.Hour)
	between("resources.rest", p.Resources.Rest, 0, time.Hour)
	between("storage.latency", p.Storage.Latency, 10*time.Millisecond, time.Minute)
	between("storage.for", p.Storage.For, 0, time.Hour)
	between("storage.rest", p.Storage.Rest, 0, time.Hour)
	between("storage.replace", p.Storage.Replace, time.Second, 24*time.Hour)
	between("clock.skew", p.Clock.Skew, 100*time.Millisecond, time.Hour)
	between("clock.for", p.Clock.For, 0, time.Hour)
	between("clock.rest", p.Clock.Rest, 0, time.Hour)
	for _, s := range []struct {
		name  string
		value float64
	}{
		{"rate", p.Rate}, {"resources.cpu", p.Resources.CPU}, {"resources.throttled", p.Resources.Throttled},
		{"resources.memory", p.Resources.Memory}, {"resources.release", p.Resources.Release},
	} {
		if s.value <= 0 || s.value >= 1 {
			bad("%s is %v, want a share between 0 and 1", s.name, s.value)
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"failures", p.Failures}, {"rate_min", p.RateMin}, {"strikes", p.Strikes}} {
		if n.value < 1 {
			bad("%s is %d, want at least 1", n.name, n.value)
		}
	}
	for i, r := range p.Rules {
		if !slices.Contains(analyzed, r.Incident) {
			bad("rule %d: unknown incident %q; known: %v", i+1, r.Incident, analyzed)
		}
		if !slices.Contains(moments, r.When) {
			bad("rule %d: unknown moment %q; known: %v", i+1, r.When, moments)
		}
		for _, k := range r.Kinds {
			if !slices.Contains(kinds[r.Incident], k) {
				bad("rule %d: incidents %s have no kind %q; known: %v", i+1, r.Incident, k, kinds[r.Incident])
			}
		}
		for _, a := range r.Do {
			if !slices.Contains(supported, a) {
				bad("rule %d: unknown action %q; known: %v", i+1, a, supported)
			} else if _, ok := p.Actions[a]; !ok {
				bad("rule %d: action %q has no entry under actions", i+1, a)
			}
		}
	}
	for name, l := range p.Actions {
		if !slices.Contains(supported, name) {
			bad("actions: unknown action %q; known: %v", name, supported)
		}
		between("deadline of "+name, l.Deadline, 10*time.Millisecond, time.Hour)
		if l.Attempts < 1 {
			bad("attempts of %s is %d, want at least 1", name, l.Attempts)
		}
	}
	return errors.Join(errs...)
}
