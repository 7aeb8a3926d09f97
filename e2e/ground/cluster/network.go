package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"golang.org/x/sys/unix"
)

// serviceCIDR is kind's default.
const serviceCIDR = "10.96.0.0/16"

// cniConfig is the network of one node's pods: the reference plugins over its podCIDR.
func cniConfig(podCIDR string) ([]byte, error) {
	type object = map[string]any
	return json.Marshal(object{
		"cniVersion": "1.0.0", "name": "x0tta6bl4",
		"plugins": []object{
			{"type": "ptp", "ipMasq": false, "ipam": object{
				"type": "host-local", "dataDir": "/run/cni-ipam-state",
				"routes": []object{{"dst": "0.0.0.0/0"}}, "ranges": [][]object{{{"subnet": podCIDR}}},
			}},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	})
}

// upkeepWeight is the share of the processor, where it is short, of what starts and ends
// containers: containerd with all its helpers, and the kubelet. The pods, beside them, have
// systemd's default of 100. Without it, on two cores, a mesh that is made or removed
// takes from the one under test for seconds what its heartbeats need.
const upkeepWeight = 20

// nodeScript sets up one node. The service addresses are rejected where they would leave the node:
// before kube-proxy knows a new Service a connection to it would follow the
// default route, and a gateway that answers for any address would accept it.
func nodeScript(cni []byte, routes map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "set -e\nmkdir -p /etc/cni/net.d\nrm -f /etc/cni/net.d/*\n")
	for cidr, via := range routes {
		fmt.Fprintf(&b, "ip route replace %s via %s\n", cidr, via)
	}
	for _, chain := range []string{"OUTPUT", "FORWARD"} {
		fmt.Fprintf(&b, "iptables -w -I %s -d %s -o eth0 -j REJECT\n", chain, serviceCIDR)
	}
	for _, unit := range []string{"system.slice", "kubelet.service"} {
		fmt.Fprintf(&b, "systemctl set-property --runtime %s CPUWeight=%d\n", unit, upkeepWeight)
	}
	// The last step makes the node ready, by a rename: containerd must not read half a file.
	fmt.Fprintf(&b, "echo '%s' > /etc/cni/net.d/.new\nmv /etc/cni/net.d/.new /etc/cni/net.d/10-x0tta6bl4.conflist\n", cni)
	return b.String()
}

// network sets up the pods' network on every node, and their priority.
func (c *Cluster) network(ctx context.Context) error {
	list, err := c.Kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	addresses := map[string]string{} // podCIDR → node
	for _, n := range list.Items {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				addresses[n.Spec.PodCIDR] = a.Address
			}
		}
	}
	for _, n := range list.Items {
		if n.Spec.PodCIDR == "" {
			return fmt.Errorf("node %s has no podCIDR", n.Name)
		}
		routes := map[string]string{}
		for cidr, address := range addresses {
			if cidr != n.Spec.PodCIDR {
				routes[cidr] = address
			}
		}
		cni, err := cniConfig(n.Spec.PodCIDR)
		if err != nil {
			return err
		}
		if _, err := c.engine.Output(ctx, "exec", n.Name, "sh", "-c", nodeScript(cni, routes)); err != nil {
			return fmt.Errorf("network of node %s: %w", n.Name, err)
		}
	}
	return nil
}

// checkCapabilities makes sure that the nodes can give a pod what the eBPF verifier needs.
func (c *Cluster) checkCapabilities(ctx context.Context) error {
	nodes, err := c.nodes(ctx)
	if err != nil || len(nodes) == 0 {
		return fmt.Errorf("nodes of cluster %s: %w", c.name, err)
	}
	out, err := c.engine.Output(ctx, "exec", nodes[0], "sed", "-n", "s/^CapBnd:[[:space:]]*//p", "/proc/1/status")
	if err != nil {
		return err
	}
	bounding, err := strconv.ParseUint(out, 16, 64)
	if err != nil {
		return fmt.Errorf("capabilities of node %s: %w", nodes[0], err)
	}
	for _, capability := range []int{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN} {
		if bounding&(1<<capability) == 0 {
			return usage(fmt.Errorf("the engine, Docker %s, cannot give CAP_BPF and CAP_PERFMON to a container: use Docker 23 or later, or stop it, and the suite starts an engine of its own", c.engine.Version))
		}
	}
	return nil
}
