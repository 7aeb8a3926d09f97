// Package fault turns a fixture into a fault: it decodes the YAML strictly,
// moves it into a scenario's namespace, applies it as a typed object, waits until
// it is injected and later recovered, and looks for what it left behind.
//
// Two facts of Chaos Mesh shape it. Its condition AllInjected says that it
// tried, not that anything bites: that is proven from outside by package
// probe. And its condition AllRecovered is true before injection too, so
// recovered means AllRecovered and a desired phase of Stop.
//
// Faults that Chaos Mesh has no kind for are a Job, or a Pod that holds nothing but
// an ephemeral container, which is added to the pod of that name.
//
// # Map
//
// From YAML to an object that may be applied:
//
//	decode, lines        strict decoding, with the line of what is wrong
//	kinds, schema        the kinds of Chaos Mesh, and what their CRDs say of them
//	validate, recurring  what Chaos Mesh would refuse, or never inject
//	served               what a cluster adds to what it serves, and a fixture must not have
//	provable*            what can be proven from outside and judged
//	retarget, aim        into a scenario's namespace; onto one pod
//	duration, direction  how long it lasts; in which directions it acts on packets
//	effect               what it does, in a word
//	dryrun               the API server's own check
//
// In the cluster:
//
//	injection            a fault's life: applied, injected, recovered, deleted
//	chaos, schedule, job, container, pods
//	                     the same for each kind of object
//	absent               the same of a fault that nobody applies
//	disk                 what a volume and a clock do in a pod, seen from outside
//	snapshot, residue, stressor
//	                     what is kept for the report; what a fault did, and left behind
package fault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ErrSelectsNothing says that a selector of the fixture matches no pod, so
// that nothing can be concluded from applying it.
var ErrSelectsNothing = errors.New("the selector matches no pod")

// Object is a decoded fixture: an experiment of Chaos Mesh with selectors, a
// Schedule of one, a Job, or a Pod that holds an ephemeral container.
type Object interface{ client.Object }

// experiment is a Chaos Mesh experiment with selectors.
type experiment interface {
	v1alpha1.InnerObjectWithSelector
	Validate() ([]string, error)
}

// kindOf returns the kind of an object by its type: the client clears the kind of
// what it reads.
func kindOf(o client.Object) string {
	t := fmt.Sprintf("%T", o)
	return t[strings.LastIndexByte(t, '.')+1:]
}

func name(o client.Object) string {
	return fmt.Sprintf("%s %s/%s", kindOf(o), o.GetNamespace(), o.GetName())
}
