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
				sub.Verified = !v.conditions[[2]string{i.Type, name}]
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
	return typ == metric.Misbehaviour || typ == metric.Isolated || typ == metric.StorageFault || typ == metric.RepairStalled
}

// Witnessed reports whether a peer counts as behind a failed link: others claim to hear it.
func (l *Loop) Witnessed(peer string) bool { return l.cases.find(metric.LinkFailure, peer) != nil }

// Severed reports whether an incident of peers that are not reached is open.
func (l *Loop) Severed() bool {
	return slices.ContainsFunc(l.cases.open, func(i *Incident) bool { return i.Type == "" || connectivity(i.Type) })
}
