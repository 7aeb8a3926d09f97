package mapek

import (
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// level compares the open incidents with what is so now, and ends what has lost its cause.
// Symptoms are changes; where one is missed, merged with another or about a peer that was
// never met, an incident would stay open for good without this.
func (c *Cases) level(now time.Time, v *View) []Finding {
	var findings []Finding
	for _, i := range slices.Clone(c.open) {
		for name, sub := range i.Subjects {
			p := v.Peers[name]
			switch {
			case i.Type == metric.ResourceExhaustion:
				sub.Verified = !v.exhausted.on
			case isCondition(i.Type):
				_, on := v.conditions[[2]string{i.Type, name}]
				sub.Verified = !on
			case p == nil: // left, or no member any more
				sub.Unreachable, sub.Verified = false, true
			case i.Type == metric.LatencySLO:
				sub.Verified = !p.slow.on
			case i.Type == metric.HighFailureRate:
				sub.Verified = !p.failing
			case i.Type == metric.VerificationFailed:
				sub.Verified = sub.Verified || p.Verified
			case p.Met && p.Reachable:
				sub.Unreachable, sub.Verified = false, sub.Verified || p.Verified
			}
		}
		switch {
		case i.Type == "" && i.settled():
			c.drop(i) // shorter than what counts as an incident
		case i.Type == "", i.Type == metric.VerificationFailed: // calm waits for quiet
		case i.settled():
			findings = append(findings, c.resolve(now, i))
		}
	}
	return findings
}

// isCondition reports whether incidents of a type are those of a Condition.
func isCondition(typ string) bool {
	switch typ {
	case metric.Misbehaviour, metric.Isolated, metric.StorageFault, metric.ClockSkew, metric.RepairStalled:
		return true
	}
	return false
}

// Witnessed reports whether a peer counts as behind a failed link: others claim to hear it.
func (l *Loop) Witnessed(peer string) bool { return l.cases.find(metric.LinkFailure, peer) != nil }

// Faulty reports whether a fault of this node's store is an open incident that is more than
// its quota, and healing is on.
func (l *Loop) Faulty() bool {
	i := l.cases.find(metric.StorageFault, "")
	return l.cfg.Heal && i != nil && i.Kind != metric.FaultQuota
}

// Skewed reports whether the clock of a node is an open incident, and healing is on.
func (l *Loop) Skewed(node string) bool {
	return l.cfg.Heal && l.cases.find(metric.ClockSkew, node) != nil
}

// Severed reports whether an incident of peers that are not reached is open.
func (l *Loop) Severed() bool {
	return slices.ContainsFunc(l.cases.open, func(i *Incident) bool { return i.Type == "" || connectivity(i.Type) })
}

// Parted reports whether a partition is an open incident: who is silent then may be on its other side.
func (l *Loop) Parted() bool {
	return slices.ContainsFunc(l.cases.open, func(i *Incident) bool { return i.Type == metric.NetworkPartition })
}
