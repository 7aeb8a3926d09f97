// Package fault turns a fixture into a fault: it decodes the YAML strictly,
// moves it into a scenario's namespace, applies it as a typed Chaos Mesh
// object, waits until it is injected and later recovered, and looks for what
// it left behind.
//
// Two facts of Chaos Mesh shape it. Its condition AllInjected says that it
// tried, not that anything bites: that is proven from outside by package
// probe. And its condition AllRecovered is true before injection too, so
// recovered means AllRecovered and a desired phase of Stop.
package fault

import (
	"errors"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

// ErrSelectsNothing says that a selector of the fixture matches no pod, so
// that nothing can be concluded from applying it.
var ErrSelectsNothing = errors.New("the selector matches no pod")

// Object is a Chaos Mesh experiment with selectors.
type Object interface {
	v1alpha1.InnerObjectWithSelector
	Validate() ([]string, error)
}
