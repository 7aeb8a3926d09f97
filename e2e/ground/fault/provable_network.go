package fault

import (
	"strconv"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

func provableNetwork(s *v1alpha1.NetworkChaosSpec, at string, fail failure) error {
	if err := inCluster(s.RemoteCluster, at, fail); err != nil {
		return err
	}
	if len(s.ExternalTargets) > 0 {
		return fail(at+".externalTargets", "cuts or delays no pair of nodes, and can reach what observes them: name nodes as the target")
	}
	for _, d := range []struct{ field, name string }{{".device", s.Device}, {".targetDevice", s.TargetDevice}} {
		if d.name != "" && d.name != device {
			return fail(at+d.field, "%q: a node's frames go through %s", d.name, device)
		}
	}
	if err := lasting(s.Duration, Shortest, at+".duration", fail); err != nil {
		return err
	}
	switch s.Action {
	case v1alpha1.PartitionAction:
		return provablePartition(s, at, fail)
	case v1alpha1.DelayAction:
		return provableDelay(s, at, fail)
	}
	return fail(at+".action", "%s cannot be proven here (partition and delay can)", s.Action)
}

// provablePartition wants both sides to be known before it is applied.
func provablePartition(s *v1alpha1.NetworkChaosSpec, at string, fail failure) error {
	if s.Target == nil {
		return fail(at+".target", "is missing: the nodes would be cut from what observes them, too")
	}
	if s.Mode != v1alpha1.AllMode {
		return fail(at+".mode", "is %s: which pairs are cut can be foreseen in mode all only", s.Mode)
	}
	if s.Target.Mode != v1alpha1.AllMode {
		return fail(at+".target.mode", "is %s: which pairs are cut can be foreseen in mode all only", s.Target.Mode)
	}
	return nil
}

// provableDelay wants every delayed packet to be late enough to be told from one that is not,
// and not so late that it seems lost. Whatever else netem can do would be blamed on the mesh.
func provableDelay(s *v1alpha1.NetworkChaosSpec, at string, fail failure) error {
	for field, set := range map[string]bool{
		".loss": s.Loss != nil, ".duplicate": s.Duplicate != nil, ".corrupt": s.Corrupt != nil,
		".bandwidth": s.Bandwidth != nil, ".rate": s.Rate != nil,
	} {
		if set {
			return fail(at+field, "comes with the delay and cannot be proven here: take it away")
		}
	}
	if s.Delay == nil {
		return fail(at+".delay", "is missing")
	}
	at += ".delay"
	if s.Delay.Reorder != nil {
		return fail(at+".reorder", "cannot be proven here: take it away")
	}
	latency, err := time.ParseDuration(s.Delay.Latency)
	if err != nil {
		return fail(at+".latency", "%q is no time, like 200ms", s.Delay.Latency)
	}
	jitter, err := time.ParseDuration(s.Delay.Jitter)
	if err != nil {
		return fail(at+".jitter", "%q is no time, like 50ms", s.Delay.Jitter)
	}
	if latency-jitter < LeastDelay {
		return fail(at+".latency", "%v with jitter %v: some packets are less than %v late, which cannot be told from a busy network", latency, jitter, LeastDelay)
	}
	if latency+jitter >= MostDelay {
		return fail(at+".latency", "%v with jitter %v: some packets are %v late or more, which looks like a cut", latency, jitter, MostDelay)
	}
	if c, err := strconv.ParseFloat(s.Delay.Correlation, 64); err != nil || !(c >= 0 && c <= 100) {
		return fail(at+".correlation", "%q is no percentage from 0 to 100", s.Delay.Correlation)
	}
	return nil
}
