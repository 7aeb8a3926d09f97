package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/chaos"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// podFiles is the directory of the files that Kubernetes would mount into the
// process' pod.
const podFiles = "MESHNODE_TEST_POD_FILES"

// asMeshnode makes this test binary behave as meshnode itself, so that the
// tests run the real command line in processes of its own.
const asMeshnode = "MESHNODE_TEST_AS_COMMAND"

// asMeshchaos makes it behave as meshchaos.
const asMeshchaos = "MESHNODE_TEST_AS_MESHCHAOS"

func TestMain(m *testing.M) {
	if err := join(); err != nil {
		fmt.Fprintln(os.Stderr, "control groups:", err)
		os.Exit(1)
	}
	if os.Getenv(burn) != "" {
		burnCPU()
	}
	if address := os.Getenv(asMemberlist); address != "" {
		os.Exit(runMemberlist(address))
	}
	if os.Getenv(asMeshchaos) != "" {
		chaos.Binary().Main()
	}
	if os.Getenv(asMeshnode) != "" {
		if dir := os.Getenv(podFiles); dir != "" {
			if err := mountPodFiles(dir); err != nil {
				fmt.Fprintln(os.Stderr, "pod files:", err)
				os.Exit(1)
			}
		}
		main()
	}
	os.Exit(m.Run())
}

// mountPodFiles shows dir as the service account's files, in the mount namespace
// that "ip netns exec" made for this process.
func mountPodFiles(dir string) error {
	const account = "/run/secrets/kubernetes.io/serviceaccount"
	files, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return err
	}
	if err := os.MkdirAll(account, 0o700); err != nil {
		return err
	}
	return os.CopyFS(account, files.FS())
}

// cluster is real nodes: processes in network namespaces, joined by a bridge in
// a namespace that stands for the cluster's network, with a real certificate
// authority before an API server that is played.
type cluster struct {
	t     testing.TB
	dir   string
	hub   string
	names []string
	procs map[string]*process
	caURL string
	api   *apiServer
	http  *http.Client
}

type process struct {
	cmd  *exec.Cmd
	log  *os.File
	ip   string
	mesh netip.Addr // where peers find it, if that is not ip
	port string     // the bridge's end of the node's link
	ns   string
}

// needRoot skips where namespaces and programs cannot be had; never in CI.
func needRoot(t testing.TB) {
	t.Helper()
	why := ""
	if os.Geteuid() != 0 {
		why = "needs root for network namespaces and eBPF"
	} else if _, err := exec.LookPath("ip"); err != nil {
		why = "needs the ip command of iproute2"
	}
	if why == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(why + ", and nothing skips in CI")
	}
	t.Skip(why)
}

func (c *cluster) ip(args ...string) {
	c.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		c.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// inHub runs f on a thread in the hub's namespace.
func (c *cluster) inHub(f func() error) error { return inNamespace(c.hub, f) }

// inNamespace runs f on a thread in a namespace: what sockets f makes stay there.
// The thread goes back afterwards and lives on: a process that it started would
// die with it (Pdeathsig).
func inNamespace(name string, f func() error) (err error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		return err
	}
	ns, err := netns.GetFromName(name)
	if err != nil {
		return err
	}
	defer func() {
		if back := netns.Set(home); back != nil {
			err = fmt.Errorf("thread lost in namespace %s: %w", name, back) // stays locked
		} else {
			runtime.UnlockOSThread()
		}
		err = errors.Join(err, ns.Close(), home.Close())
	}()
	if err := netns.Set(ns); err != nil {
		return err
	}
	return f()
}

// hubIP is the address of what is not a node.
const hubIP = "10.99.0.254"

func newCluster(t testing.TB, names ...string) *cluster {
	c := newNetwork(t, names...)
	c.authority()
	return c
}

// newNetwork is a cluster's network and nothing that runs in it.
func newNetwork(t testing.TB, names ...string) *cluster {
	needRoot(t)
	c := &cluster{t: t, dir: t.TempDir(), hub: fmt.Sprintf("mesh%d-hub", os.Getpid()), names: names, procs: map[string]*process{}}
	c.ip("netns", "add", c.hub)
	t.Cleanup(func() { c.ip("netns", "del", c.hub) })
	c.ip("-n", c.hub, "link", "set", "lo", "up")
	c.ip("-n", c.hub, "link", "add", "br0", "type", "bridge")
	c.ip("-n", c.hub, "addr", "add", hubIP+"/24", "dev", "br0")
	c.ip("-n", c.hub, "link", "set", "br0", "up")
	for i, name := range names {
		p := &process{ip: fmt.Sprintf("10.99.0.%d", i+1), port: fmt.Sprintf("p%d", i), ns: fmt.Sprintf("mesh%d-%d", os.Getpid(), i)}
		c.procs[name] = p
		c.ip("netns", "add", p.ns)
		t.Cleanup(func() { c.ip("netns", "del", p.ns) })
		c.ip("-n", c.hub, "link", "add", p.port, "type", "veth", "peer", "name", "eth0", "netns", p.ns)
		c.ip("-n", c.hub, "link", "set", p.port, "master", "br0", "up")
		c.ip("-n", p.ns, "link", "set", "lo", "up")
		c.ip("-n", p.ns, "addr", "add", p.ip+"/24", "dev", "eth0")
		c.ip("-n", p.ns, "link", "set", "eth0", "up")
	}
	return c
}

// authority starts an API server and "meshnode ca" in the hub.
func (c *cluster) authority() {
	c.t.Helper()
	c.api = newAPIServer(c)
	c.startAuthority()
	// The API CA is part of the root: after a new authority this client is of
	// no use for the client API, but still for metrics.
	trust, err := identity.LoadTrust(filepath.Join(c.dir, "trust"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.http = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trust.APICA, MinVersion: tls.VersionTLS13},
		DialContext: func(_ context.Context, network, addr string) (conn net.Conn, err error) {
			err = c.inHub(func() (err error) { conn, err = net.DialTimeout(network, addr, time.Second); return err })
			return conn, err
		},
	}}
	c.t.Cleanup(c.http.CloseIdleConnections)
}

func (c *cluster) startAuthority() {
	c.t.Helper()
	api := c.api
	api.done.Store(false)
	pod := filepath.Join(c.dir, "ca-pod")
	for name, content := range map[string]string{"ca.crt": api.certificate, "namespace": "test", "token": "token of mesh-ca"} {
		c.write(filepath.Join("ca-pod", name), content)
	}
	c.procs["ca"] = &process{ip: hubIP, ns: c.hub}
	c.launch("ca", []string{podFiles + "=" + pod, "KUBERNETES_SERVICE_HOST=" + hubIP, "KUBERNETES_SERVICE_PORT=" + api.port},
		"ca", "--dir="+filepath.Join(c.dir, "authority"), "--service-account=mesh-node", "--hosts="+hubIP)
	c.caURL = "https://" + hubIP + ":8443"
	c.within(10*time.Second, "the trust bundle", api.published)
}

func (c *cluster) write(name, content string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

const apiToken = "a-token-for-tests"

// start starts a node's process.
func (c *cluster) start(name string, extra ...string) {
	c.t.Helper()
	var peers []string
	for _, n := range c.names {
		addr := c.procs[n].mesh
		if !addr.IsValid() {
			addr = netip.MustParseAddr(c.procs[n].ip)
		}
		peers = append(peers, n+"="+netip.AddrPortFrom(addr, frame.Port).String())
	}
	data := filepath.Join(c.dir, name, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.launch(name, nil, append([]string{
		"run", "--name=" + name, "--zone=zone-" + name[:1], "--peers=" + strings.Join(peers, ","),
		"--ca=" + c.caURL, "--token-file=" + c.write(filepath.Join(name, "token"), "token of "+name), "--trust-dir=" + filepath.Join(c.dir, "trust"),
		"--data-dir=" + data, "--api-token-file=" + c.write("api-token", apiToken),
	}, extra...)...)
}

// launch starts a subcommand as a process in its namespace.
func (c *cluster) launch(name string, env []string, args ...string) {
	c.t.Helper()
	p := c.procs[name]
	log, err := os.Create(c.write(filepath.Join(name, "log"), ""))
	if err != nil {
		c.t.Fatal(err)
	}
	p.log = log
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", p.ns, os.Args[0]}, args...)...)
	p.cmd.Env = append(append(os.Environ(), asMeshnode+"=1"), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// Also a test that panics leaves no process behind.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if p.cmd != nil {
			c.stop(name)
		}
		if c.t.Failed() {
			b, err := os.ReadFile(log.Name())
			c.t.Logf("log of %s (%v):\n%s", name, err, tail(string(b), 60))
		}
	})
}

// stop ends a node as Kubernetes does and expects exit code 0.
func (c *cluster) stop(name string) {
	c.t.Helper()
	p := c.procs[name]
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Errorf("%s: %v", name, err)
	}
	killer := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	if err := p.cmd.Wait(); err != nil {
		c.t.Errorf("%s did not end well: %v", name, err)
	}
	killer.Stop()
	if err := p.log.Close(); err != nil {
		c.t.Error(err)
	}
	p.cmd = nil
}

func tail(s string, lines int) string {
	l := strings.Split(s, "\n")
	return strings.Join(l[max(0, len(l)-lines):], "\n")
}
