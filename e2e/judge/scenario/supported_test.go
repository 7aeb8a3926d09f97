package scenario

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/fixtures"
)

// TestFaultsThatGoByAddressNeedIPv4: a partition cannot be made between pods of IPv6 alone, and
// that is said of the cluster, not of the mesh. What goes by pod can be.
func TestFaultsThatGoByAddressNeedIPv4(t *testing.T) {
	pods := func(addresses ...string) (all []corev1.Pod) {
		for _, a := range addresses {
			all = append(all, corev1.Pod{Status: corev1.PodStatus{PodIP: a}})
		}
		return all
	}
	for fixture, byAddress := range map[string]bool{
		"network-partition.yaml": true, "network-partition-link.yaml": true,
		"latency.yaml": false, "node-crash.yaml": false, "node-crash-schedule.yaml": false, "resource-stress.yaml": false, "pqc-inject.yaml": false,
	} {
		o, err := fault.Load(fixtures.FS, fixture)
		if err != nil {
			t.Fatal(err)
		}
		if err := supported(o, pods("10.244.1.2", "10.244.2.2")); err != nil {
			t.Errorf("%s, IPv4: %v", fixture, err)
		}
		err = supported(o, pods("fd00::2", "fd00::3"))
		if got := verdict.Of(err) == report.NotSupported; got != byAddress || got && !strings.Contains(err.Error(), "fd00::2") {
			t.Errorf("%s, IPv6: %v", fixture, err)
		}
	}
}
