package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// Network is how the pods of a cluster reach each other; zero values are the defaults.
type Network struct {
	Family string // ipv4, the default, ipv6 or dual
	MTU    int    // of the pods' interfaces in bytes; 0: the node's
}

// MinMTU is the least MTU of the pods' interfaces: IPv6 asks for it (RFC 8200, section 5), and
// the mesh does in either family.
const MinMTU = 1280

// inet6 is there where the kernel has IPv6.
var inet6 = "/proc/net/if_inet6"

// Check finds what is wrong with a network.
func (n Network) Check() error {
	switch n.Family {
	case "", "ipv4":
	case "ipv6", "dual":
		if _, err := os.Stat(inet6); err != nil {
			return fmt.Errorf("family %s: this kernel runs without IPv6 (%s is not there): boot without ipv6.disable=1", n.Family, inet6)
		}
	default:
		return fmt.Errorf("family %q: ipv4, ipv6 or dual", n.Family)
	}
	if n.MTU != 0 && (n.MTU < MinMTU || n.MTU > 65535) {
		return fmt.Errorf("MTU %d: from %d on", n.MTU, MinMTU)
	}
	return nil
}

// apply writes the families into kind's configuration. The API server is reached by IPv4 in any case,
// as the engine's ports are open on 127.0.0.1.
func (n Network) apply(to *v1alpha4.Networking) {
	switch n.Family {
	case "ipv6":
		to.IPFamily, to.APIServerAddress = v1alpha4.IPv6Family, "127.0.0.1"
	case "dual":
		to.IPFamily = v1alpha4.DualStackFamily
	}
}

// Kind's default service addresses, by family.
const (
	serviceCIDR   = "10.96.0.0/16"
	serviceCIDRv6 = "fd00:10:96::/112"
)

// ipv6 reports whether an address or a CIDR is of IPv6.
func ipv6(address string) bool { return strings.Contains(address, ":") }

// cniConfig is the network of one node's pods: the reference plugins over its podCIDRs, one
// of each family, and the pods' MTU, if that is not 0.
func cniConfig(mtu int, podCIDRs ...string) ([]byte, error) {
	type object = map[string]any
	var routes []object
	var ranges [][]object
	for _, cidr := range podCIDRs {
		all := "0.0.0.0/0"
		if ipv6(cidr) {
			all = "::/0"
		}
		routes = append(routes, object{"dst": all})
		ranges = append(ranges, []object{{"subnet": cidr}})
	}
	ptp := object{
		"type": "ptp", "ipMasq": false, "ipam": object{
			"type": "host-local", "dataDir": "/run/cni-ipam-state", "routes": routes, "ranges": ranges,
		},
	}
	if mtu > 0 {
		ptp["mtu"] = mtu
	}
	return json.Marshal(object{
		"cniVersion": "1.0.0", "name": "x0tta6bl4",
		"plugins": []object{ptp, {"type": "portmap", "capabilities": object{"portMappings": true}}},
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
func nodeScript(cni []byte, podCIDRs []string, routes map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "set -e\nmkdir -p /etc/cni/net.d\nrm -f /etc/cni/net.d/*\n")
	for cidr, via := range routes {
		option := ""
		if ipv6(cidr) {
			option = "-6 "
		}
		fmt.Fprintf(&b, "ip %sroute replace %s via %s\n", option, cidr, via)
	}
	for _, cidr := range podCIDRs {
		command, services := "iptables", serviceCIDR
		if ipv6(cidr) {
			command, services = "ip6tables", serviceCIDRv6
		}
		for _, chain := range []string{"OUTPUT", "FORWARD"} {
			fmt.Fprintf(&b, "%s -w -I %s -d %s -o eth0 -j REJECT\n", command, chain, services)
		}
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
	for _, n := range list.Items {
		if len(n.Spec.PodCIDRs) == 0 {
			return fmt.Errorf("node %s has no podCIDR", n.Name)
		}
		cni, err := cniConfig(c.net.MTU, n.Spec.PodCIDRs...)
		if err != nil {
			return err
		}
		if _, err := c.engine.Output(ctx, "exec", n.Name, "sh", "-c", nodeScript(cni, n.Spec.PodCIDRs, routesFrom(n.Name, list.Items))); err != nil {
			return fmt.Errorf("network of node %s: %w", n.Name, err)
		}
	}
	return nil
}

// routesFrom are the ways from a node to the pods of the others: each podCIDR by the address
// of its node that is of the same family.
func routesFrom(name string, nodes []corev1.Node) map[string]string {
	routes := map[string]string{}
	for _, n := range nodes {
		if n.Name == name {
			continue
		}
		for _, cidr := range n.Spec.PodCIDRs {
			for _, a := range n.Status.Addresses {
				if a.Type == corev1.NodeInternalIP && ipv6(a.Address) == ipv6(cidr) {
					routes[cidr] = a.Address
				}
			}
		}
	}
	return routes
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
