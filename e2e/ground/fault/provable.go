package fault

import (
	"strconv"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What can be proven from outside and judged by the criteria. A test of package scenario
// holds them against its bars.
const (
	// Shortest is how long a fault must last: an alert fires after ten seconds, and what is scraped
	// and evaluated comes late.
	Shortest = 15 * time.Second
	// ShortestStress is how long a stress must last: the autoscaler may take as long.
	ShortestStress = time.Minute

	// LeastDelay is how late every delayed packet must be: less does not shift the median latency of
	// verifications by the bar, and cannot be told from a busy network.
	LeastDelay = 150 * time.Millisecond
	// MostDelay is how late no packet may be: with two of them a round trip takes so long that it looks
	// like a cut.
	MostDelay = 300 * time.Millisecond

	// LongestWait is how long a Schedule may take to strike.
	LongestWait = 10 * time.Minute
	// ShortestRest is how long a Schedule must leave between the end of a fault and the next: the
	// suite sees in it that everything is well again.
	ShortestRest = time.Minute

	// device is the network device that a pod has.
	device = "eth0"
)

// provable refuses an experiment whose spec stands at a path, and which would be
// admitted, where its effect could not be proven or a criterion be judged under it: the mesh
// would be blamed for it.
func provable(e experiment, at string, fail failure) error {
	for _, s := range experimentSelectors(e) {
		if err := foreseeable(s, moved(s.path, at), fail); err != nil {
			return err
		}
	}
	switch o := e.(type) {
	case *v1alpha1.NetworkChaos:
		return provableNetwork(&o.Spec, at, fail)
	case *v1alpha1.PodChaos:
		return provablePod(&o.Spec, at, fail)
	case *v1alpha1.StressChaos:
		return provableStress(&o.Spec, at, fail)
	case *v1alpha1.IOChaos:
		return provableIO(&o.Spec, at, fail)
	case *v1alpha1.TimeChaos:
		return provableTime(&o.Spec, at, fail)
	}
	return fail("kind", "cannot be proven here")
}

// foreseeable refuses selectors that Sides cannot follow, or that reach more than nodes.
func foreseeable(s selector, path string, fail failure) error {
	path += ".selector"
	spec := s.pods.Selector
	for _, other := range []struct {
		field string
		set   int
	}{
		{"fieldSelectors", len(spec.FieldSelectors)}, {"annotationSelectors", len(spec.AnnotationSelectors)},
		{"nodeSelectors", len(spec.NodeSelectors)}, {"nodes", len(spec.Nodes)}, {"podPhaseSelectors", len(spec.PodPhaseSelectors)},
	} {
		if other.set > 0 {
			return fail(path+"."+other.field, "cannot be foreseen: select by labels, or by the pods' names")
		}
	}
	if _, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{
		MatchLabels: spec.LabelSelectors, MatchExpressions: spec.ExpressionSelectors,
	}); err != nil {
		return fail(path, "%v", err)
	}
	if len(spec.Pods)+len(spec.LabelSelectors)+len(spec.ExpressionSelectors) == 0 {
		return fail(path, "selects every pod of the namespace, also those that only observe: select by labels, or by the pods' names")
	}
	return nil
}

// lasting refuses a duration that is none, or shorter than least.
func lasting(duration *string, least time.Duration, path string, fail failure) error {
	if duration == nil { // the suite takes it back
		return nil
	}
	d, err := time.ParseDuration(*duration)
	switch {
	case err != nil:
		return fail(path, "%q is no duration, like 60s", *duration)
	case d <= 0:
		return fail(path, "is %v, must be positive", d)
	case d < least:
		return fail(path, "is %v: nothing can be concluded from less than %v", d, least)
	}
	return nil
}

// single tells whether a selector can choose no more than one pod.
func single(s v1alpha1.PodSelector) bool {
	switch s.Mode {
	case v1alpha1.OneMode:
		return true
	case v1alpha1.FixedMode:
		n, err := strconv.Atoi(s.Value)
		return err == nil && n == 1
	}
	names := 0
	for _, pods := range s.Selector.Pods {
		names += len(pods)
	}
	_, byLabel := s.Selector.LabelSelectors["statefulset.kubernetes.io/pod-name"]
	return names == 1 || names == 0 && byLabel
}

// one wants a fault in one pod.
func one(s v1alpha1.PodSelector, at string, fail failure) error {
	if !single(s) {
		return fail(at+".mode", "is %s: the criteria are about one victim", s.Mode)
	}
	return nil
}

// inCluster wants a fault in this cluster.
func inCluster(remote, at string, fail failure) error {
	if remote != "" {
		return fail(at+".remoteCluster", "nothing could be proven in another cluster")
	}
	return nil
}

func provablePod(s *v1alpha1.PodChaosSpec, at string, fail failure) error {
	if err := one(s.PodSelector, at, fail); err != nil {
		return err
	}
	if err := inCluster(s.RemoteCluster, at, fail); err != nil {
		return err
	}
	switch s.Action {
	case v1alpha1.PodKillAction: // its duration has no effect
		return lasting(s.Duration, 0, at+".duration", fail)
	case v1alpha1.PodFailureAction:
		return lasting(s.Duration, Shortest, at+".duration", fail)
	}
	return fail(at+".action", "%s is judged by no scenario (pod-kill and pod-failure are)", s.Action)
}
