package scenario

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

// supported says why a fault cannot be injected into pods, whatever is done.
//
// Chaos Mesh finds a network fault's targets by address, and takes each for one of IPv4: to an
// IPv6 address it adds /32, which is no host. In pods of both families the first address is cut.
func supported(o fault.Object, pods []corev1.Pod) error {
	if !fault.ByAddress(o) {
		return nil
	}
	for _, p := range pods {
		if a, err := netip.ParseAddr(p.Status.PodIP); err == nil && a.Is6() {
			return &verdict.NotSupported{Why: fmt.Sprintf("%s picks pods by their addresses, and Chaos Mesh can do that with IPv4 only: pod %s has %s", o.GetName(), p.Name, a)}
		}
	}
	return nil
}
