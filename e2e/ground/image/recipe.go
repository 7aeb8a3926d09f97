package image

// Versions of what is built from modules stand in the go.mod files under
// manifests/images; these are the names and tags under which it appears.
const (
	KubernetesVersion = "v1.34.3"
	CoreDNSTag        = "v1.12.4"
	etcdTag           = "3.6.5-0"
	prometheusTag     = "v3.10.0"
	metricsServerTag  = "v0.7.2"
	chaosMeshTag      = "47411975a8cb" // the commit of the pinned module: no release holds it

	// Node is the node image of the kind cluster when it is built here.
	Node = "x0tta6bl4/kind-node:" + KubernetesVersion
	// publishedNode is what an engine that can pull gets instead.
	publishedNode = "kindest/node:" + KubernetesVersion

	// ChaosMesh, ChaosDaemon, Prometheus, MetricsServer, Mesh and Probe are what the manifests deploy.
	ChaosMesh     = "x0tta6bl4/chaos-mesh:" + chaosMeshTag
	ChaosDaemon   = "x0tta6bl4/chaos-daemon:" + chaosMeshTag
	Prometheus    = "docker.io/prom/prometheus:" + prometheusTag
	MetricsServer = "registry.k8s.io/metrics-server/metrics-server:" + metricsServerTag
	Mesh          = "x0tta6bl4/meshnode:dev"
	Probe         = "x0tta6bl4/probe:dev"
	// Pause is on every node in both ways of getting images.
	Pause = "registry.k8s.io/pause:3.10.1"
)

const (
	imagesModule     = "manifests/images"
	containerdModule = "manifests/images/containerd"
	metricsModule    = "manifests/images/metrics-server"
)

// binaries is one call of go build. All share the tags netgo and osusergo and -trimpath: with
// equal flags and versions a package that two of them need is compiled once.
type binaries struct {
	what     string
	module   string // directory of its go.mod, relative to the project
	packages []string
	tags     string
	cgo      bool
	clocks   bool // with Chaos Mesh's fake clocks
	ldflags  string
	rename   map[string]string // where the package's last element is not the command's name
}

var (
	kubernetes = binaries{
		what: "Kubernetes, etcd and CoreDNS", module: imagesModule,
		packages: []string{
			"k8s.io/kubernetes/cmd/kubelet", "k8s.io/kubernetes/cmd/kubeadm", "k8s.io/kubernetes/cmd/kubectl",
			"k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kube-controller-manager",
			"k8s.io/kubernetes/cmd/kube-scheduler", "k8s.io/kubernetes/cmd/kube-proxy",
			"go.etcd.io/etcd/server/v3", "./coredns",
		},
		ldflags: "-X k8s.io/component-base/version.gitVersion=" + KubernetesVersion +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34" +
			" -X k8s.io/component-base/version.gitTreeState=clean",
		rename: map[string]string{"server": "etcd"},
	}
	containerd = binaries{
		what: "containerd, runc and the CNI plugins", module: containerdModule,
		packages: []string{
			"github.com/containerd/containerd/v2/cmd/containerd", "github.com/containerd/containerd/v2/cmd/ctr",
			"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "github.com/opencontainers/runc",
			"github.com/containernetworking/plugins/plugins/main/ptp",
			"github.com/containernetworking/plugins/plugins/main/loopback",
			"github.com/containernetworking/plugins/plugins/ipam/host-local",
			"github.com/containernetworking/plugins/plugins/meta/portmap",
		},
		tags: "no_aufs,no_zfs,no_btrfs,no_devmapper,seccomp", cgo: true,
	}
	metricsServer = binaries{
		what: "metrics-server", module: metricsModule,
		packages: []string{"."},
	}
	chaosManager = binaries{
		what: "Chaos Mesh's controller", module: imagesModule,
		packages: []string{"github.com/chaos-mesh/chaos-mesh/cmd/chaos-controller-manager"},
	}
	chaosDaemon = binaries{
		what: "Chaos Mesh's daemon", module: imagesModule,
		packages: []string{"github.com/chaos-mesh/chaos-mesh/cmd/chaos-daemon"},
		cgo:      true, // ptrace
		clocks:   true,
	}
	prometheus = binaries{
		what: "Prometheus", module: imagesModule,
		packages: []string{"github.com/prometheus/prometheus/cmd/prometheus"},
		tags:     "remove_all_sd,enable_kubernetes_sd", // no cloud's service discovery but ours
	}
	// netemTC is first in the daemon's PATH; Debian's tc stays where it is.
	netemTC = binaries{what: "the netem stand-in", module: ".", packages: []string{"./e2e/cmd/tc"}}
	// todaStandIn is where the daemon looks for toda; one that is elsewhere in PATH goes before it.
	todaStandIn = binaries{what: "the toda stand-in", module: ".", packages: []string{"./e2e/cmd/toda"}}

	meshnode = binaries{what: "the mesh node", module: ".", packages: []string{"./meshnode"}}
	probe    = binaries{what: "the probe", module: ".", packages: []string{"./e2e/cmd/probe"}}
)

// rootFS is a Debian file system made by mmdebstrap from this machine's own apt configuration.
type rootFS struct {
	name     string
	variant  string
	packages []string
	hooks    []string
}

var (
	// nodeRoot follows images/base/Dockerfile of kind, without what only network storage needs.
	nodeRoot = rootFS{name: "node", variant: "minbase", packages: []string{
		"systemd", "systemd-sysv", "dbus", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod",
		"libseccomp2", "pigz", "bash", "ca-certificates", "curl", "jq", "procps", "ipset",
	}}
	daemonRoot = rootFS{name: "chaos-daemon", variant: "minbase", packages: []string{
		"iptables", "ipset", "iproute2", "stress-ng", "util-linux", "procps",
	}, hooks: []string{
		`chroot "$1" update-alternatives --set iptables /usr/sbin/iptables-legacy`,
		`chroot "$1" update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy`,
	}}
	// proxyRoot holds unpacked packages only: no shell, no package manager.
	proxyRoot = rootFS{name: "kube-proxy", variant: "extract", packages: []string{"iptables", "ipset", "conntrack", "nftables", "kmod"}}
)
