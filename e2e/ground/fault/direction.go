package fault

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
)

// Direction is one way between two pods: the packets that one sends the other.
type Direction struct{ From, To string }

// Cuts returns the directions that a partition cuts, sorted, before it is applied:
// `direction: to` drops what the source's pods send the target's, `from` what the target's send
// the source's. A pod of both sides is cut from the pods of either. It is an error
// where that cannot be foreseen, as by Sides; see Injection.Sides and Directions then.
func Cuts(o Object, pods []corev1.Pod) ([]Direction, error) {
	n, err := networkChaos(o)
	if err != nil {
		return nil, err
	}
	if n.Spec.Action != v1alpha1.PartitionAction {
		return nil, fmt.Errorf("%s: action %s cuts nothing", name(o), n.Spec.Action)
	}
	if n.Spec.Target == nil {
		return nil, fmt.Errorf("%s: spec.target is missing: no pair is cut", name(o))
	}
	source, target, err := Sides(o, pods)
	if err != nil {
		return nil, err
	}
	return Directions(o, source, target, nil)
}

// Directions returns in which directions a network fault acts on packets, sorted, given
// the pods that were chosen on its sides. Without a target it acts on what its source's pods
// send to any of the nodes. It follows what Chaos Mesh's controller makes of an
// experiment: a partition becomes rules at both ends, any other action a qdisc at the
// sender.
//
// That it acts on no pair at all is an error: to find no pair untouched would prove nothing.
// So is a pod on both sides of a fault in both directions other than a partition: Chaos Mesh's
// controller overwrites what it has set there for the first side with the second's.
func Directions(o Object, source, target, nodes []string) ([]Direction, error) {
	n, err := networkChaos(o)
	if err != nil {
		return nil, err
	}
	way := cmp.Or(n.Spec.Direction, v1alpha1.To) // what the schema and the webhook default it to
	switch {
	case n.Spec.Target != nil:
	case len(n.Spec.ExternalTargets) > 0:
		return nil, fmt.Errorf("%s: acts on what is outside the cluster only", name(o))
	case way != v1alpha1.To:
		return nil, fmt.Errorf("%s: direction %s without a target", name(o), way)
	default:
		target = nodes
	}
	var all []Direction
	for _, s := range source {
		if way == v1alpha1.Both && n.Spec.Action != v1alpha1.PartitionAction && slices.Contains(target, s) {
			return nil, fmt.Errorf("%s: pod %s is on both sides: which of them is slow in direction %s cannot be foreseen", name(o), s, way)
		}
		for _, t := range target {
			if s == t {
				continue
			}
			if way != v1alpha1.From {
				all = append(all, Direction{s, t})
			}
			if way != v1alpha1.To {
				all = append(all, Direction{t, s})
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: acts on no pair: source %v, target %v", name(o), source, target)
	}
	slices.SortFunc(all, func(a, b Direction) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return slices.Compact(all), nil
}

// Mostly returns the nodes, sorted, of whose pairs with the other nodes more than half are
// acted on in one direction or both: a median over a node's peers is the fault's there, and
// nowhere else.
func Mostly(ways []Direction, nodes []string) []string {
	var mostly []string
	for _, n := range distinct(nodes) {
		hit := map[string]bool{}
		for _, w := range ways {
			switch n {
			case w.From:
				hit[w.To] = true
			case w.To:
				hit[w.From] = true
			}
		}
		if 2*len(hit) > len(nodes)-1 {
			mostly = append(mostly, n)
		}
	}
	return mostly
}

// networkChaos returns the network experiment that an object is, or makes.
func networkChaos(o Object) (*v1alpha1.NetworkChaos, error) {
	o, err := made(o)
	if err != nil {
		return nil, err
	}
	n, ok := o.(*v1alpha1.NetworkChaos)
	if !ok {
		return nil, fmt.Errorf("%s: is no fault of the network", name(o))
	}
	return n, nil
}
