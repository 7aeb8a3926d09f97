package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/verifier"
	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/node"
	"github.com/x0tta6bl4/mesh/meshnode/internal/resource"
	"github.com/x0tta6bl4/mesh/meshnode/internal/server"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// options are the flags of meshnode run.
type options struct {
	name, zone, iface, peers   string
	ca, tokenFile, trustDir    string
	dataDir, policyFile        string
	listen, apiAddr, probeAddr string
	apiTokenFile, debugAddr    string
	mapek                      command.OnOff
	enrolTimeout               time.Duration
	drain, reattest            time.Duration
	quota                      int64
	logger                     func() *slog.Logger
}

// minReattest keeps the rate of attestations below what the schedule can serve.
const minReattest = 5 * time.Millisecond

const runExample = `meshnode run --interface eth0 --peers mesh-nodes.x0tta6bl4.svc --ca https://mesh-ca.x0tta6bl4.svc:8443 \
      --token-file /var/run/secrets/mesh/token --trust-dir /etc/mesh/trust --api-token-file /etc/mesh/api/token --data-dir /data`

func (o *options) flags(out io.Writer) *command.Flags {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	o.mapek = true
	f := command.NewFlags("meshnode run", runExample, out)
	f.StringVar(&o.name, "name", host, "the node's `name`; in a cluster the pod's name")
	f.StringVar(&o.zone, "zone", "", "the node's `zone`")
	f.StringVar(&o.listen, "listen", fmt.Sprintf(":%d", frame.Port), "UDP `address` of mesh traffic; the verifier guards this port only")
	f.StringVar(&o.iface, "interface", "eth0", "network `interface` that the eBPF verifier guards and to which the mesh's socket is bound")
	f.StringVar(&o.peers, "peers", "", "headless `service` whose SRV records name the peers, or a list NAME=IP:PORT,…")
	f.StringVar(&o.ca, "ca", "", "`URL` of the certificate authority")
	f.StringVar(&o.tokenFile, "token-file", "", "`file` with the service-account token for the certificate authority")
	f.StringVar(&o.trustDir, "trust-dir", "", "`directory` of the mesh's trust bundle")
	f.DurationVar(&o.enrolTimeout, "enrol-timeout", 2*time.Minute, "how long to try to get a certificate")
	f.StringVar(&o.dataDir, "data-dir", "", "`directory` of records and journal")
	f.Int64Var(&o.quota, "store-quota", 0, "`bytes` of the store in use from which on new records are refused, well below the size of its volume; 0: none")
	f.StringVar(&o.apiAddr, "api-listen", ":8443", "`address` of the client API (TLS)")
	f.StringVar(&o.apiTokenFile, "api-token-file", "", "`file` with the bearer token of the client API")
	f.StringVar(&o.probeAddr, "metrics-listen", ":8080", "`address` of /metrics, /healthz and /readyz (plain)")
	f.StringVar(&o.debugAddr, "debug-listen", "", "`address` of pprof, for instance localhost:6060; empty: off")
	f.DurationVar(&o.reattest, "reattest-interval", 0, "time between attestations of a peer on top of the one per second that its session needs; 0: none")
	f.DurationVar(&o.drain, "drain", 3*time.Second, "how long to serve on, not ready, before leaving: the time in which clients learn of it")
	f.Var(&o.mapek, "mapek", "`on` or off: the loop's Plan and Execute; off only watches")
	f.StringVar(&o.policyFile, "policy", "", "`file` with the loop's policy (YAML); empty: the built-in one")
	o.logger = f.LogLevel()
	return f
}

func runNode(stopped context.Context, args []string, out io.Writer) error {
	var o options
	f := o.flags(out)
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := f.Need("name", "peers", "ca", "token-file", "trust-dir", "data-dir", "api-token-file", "interface"); err != nil {
		return err
	}
	discover, err := node.ParsePeers(o.peers, o.name, o.iface)
	if err != nil {
		return fmt.Errorf("%w: --peers: %w", command.ErrUsage, err)
	}
	policy, err := o.policy()
	if err != nil {
		return err
	}
	listen, err := parseListen(o.listen)
	if err != nil {
		return err
	}
	if o.reattest != 0 && o.reattest < minReattest {
		return fmt.Errorf("%w: --reattest-interval is %v, want 0 or at least %v", command.ErrUsage, o.reattest, minReattest)
	}
	if o.quota < 0 {
		return fmt.Errorf("%w: --store-quota is %d, want 0 or a number of bytes", command.ErrUsage, o.quota)
	}
	logger := o.logger().With("node", o.name)
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	// The end of stopped is the wish to leave; ctx ends when the node has left.
	base, stop := context.WithCancel(context.WithoutCancel(stopped))
	defer stop()
	group, ctx := errgroup.WithContext(base)
	starting, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(stopped, cancel)()
	// Probes answer from the first moment on: what is not ready says why.
	var running atomic.Pointer[node.Node]
	var waiting atomic.Value
	waiting.Store("no certificate yet")
	if _, err := serve(ctx, group, o.probeAddr, server.Probes(reg, func() []string {
		if n := running.Load(); n != nil {
			return n.Unready()
		}
		return []string{waiting.Load().(string)}
	}), nil, logger); err != nil {
		return err
	}
	if o.debugAddr != "" {
		if _, err := serve(ctx, group, o.debugAddr, debugHandler(), nil, logger); err != nil {
			return err
		}
	}
	group.Go(func() error {
		defer stop()
		enroller := &identity.Enroller{URL: o.ca, TokenFile: o.tokenFile, TrustDir: o.trustDir, Name: o.name, Zone: o.zone, Logger: logger}
		enrol, cancel := context.WithTimeout(starting, o.enrolTimeout)
		defer cancel()
		id, err := enroller.Enrol(enrol)
		if err != nil {
			if starting.Err() != nil {
				return nil // stopped before it began
			}
			return err
		}
		if err := awaitStore(starting, o.dataDir, func(why string) { waiting.Store(why) }); err != nil {
			if starting.Err() != nil {
				return nil
			}
			return err
		}
		gate, err := openGate(starting, o.iface, logger, func(why string) { waiting.Store(why) })
		if gate == nil {
			return err
		}
		metric.RegisterVerifier(reg, gate)
		err = o.mesh(ctx, stopped, group, mesh{id, enroller, gate, discover, policy, listen, reg, logger, &running})
		// The gate goes last: without it nothing may listen.
		return errors.Join(err, gate.Close())
	})
	return group.Wait()
}

// gateRetry is the pause between attempts to attach the verifier.
const gateRetry = 5 * time.Second

// openGate loads and attaches the verifier. It tries until ctx ends, and then
// returns nil: a node without a verifier must not run, but it must say why, and
// whoever repairs the reason need not restart it.
func openGate(ctx context.Context, iface string, logger *slog.Logger, tell func(string)) (*verifier.Verifier, error) {
	tell("the verifier is not attached yet")
	for {
		gate, err := verifier.Open(verifier.Config{Interface: iface, Logger: logger})
		if err == nil {
			return gate, nil
		}
		tell(err.Error())
		logger.Error("no verifier, not ready; will retry", "error", err)
		logger.Debug("verifier", "error", fmt.Sprintf("%+v", err))
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(gateRetry):
		}
	}
}

// mesh is what a node needs once it has its identity and its gate.
type mesh struct {
	id       *identity.Node
	enroller *identity.Enroller
	gate     *verifier.Verifier
	discover node.Discoverer
	policy   *mapek.Policy
	listen   netip.AddrPort
	reg      *prometheus.Registry
	logger   *slog.Logger
	running  *atomic.Pointer[node.Node]
}

// mesh runs the node until ctx ends, or until stopped ends and the node has left.
func (o *options) mesh(ctx, stopped context.Context, group *errgroup.Group, m mesh) error {
	conn, err := transport.ListenUDP(m.listen, o.iface)
	if err != nil {
		return err
	}
	limits := resource.Open(os.DirFS("/"))
	for _, what := range limits.Missing() {
		m.logger.Info("not watched", "resource", what)
	}
	n, err := node.New(node.Config{
		Identity: m.id, Transport: conn, Gate: kernelGate{m.gate, conn}, Signatures: kernelSignatures{m.gate}, Reports: kernelReports{m.gate},
		Now: verifier.Now, Dir: o.dataDir, Discover: m.discover, Policy: m.policy, Heal: bool(o.mapek),
		Group: limits, Registry: m.reg, Logger: m.logger, Version: command.Version(version), Limits: session.Limits{Reattest: o.reattest}, Quota: o.quota,
	})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	group.Go(func() error { m.enroller.KeepRenewed(ctx, m.id); return nil })
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	served, err := serve(serving, group, o.apiAddr, server.API(n, readToken(o.apiTokenFile), m.logger), m.id.TLSConfig(), m.logger)
	if err != nil {
		return errors.Join(err, n.Close(), conn.Close())
	}
	m.running.Store(n)
	m.logger.Info("node runs", "zone", o.zone, "verifier", m.gate.Mode(), "mapek", o.mapek.String(), "version", command.Version(version))
	running, stopRunning := context.WithCancel(ctx)
	defer context.AfterFunc(stopped, func() {
		o.leave(ctx, n, m.logger)
		stopServing()
		<-served // requests in hand may need other nodes
		stopRunning()
	})()
	return n.Run(running)
}

// drainTimeout bounds the handing over.
const drainTimeout = 3 * time.Second

// leave prepares a node to be gone without anyone missing it: it turns not ready
// and serves on until clients have learned of it, and then hands over what only
// it can. A node that is killed meanwhile has crashed, and is healed as such.
func (o *options) leave(ctx context.Context, n *node.Node, logger *slog.Logger) {
	logger.Info("node leaves", "drain", o.drain.String())
	n.Leave()
	select {
	case <-ctx.Done():
		return
	case <-time.After(o.drain):
	}
	limit, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := n.Drain(limit); err != nil {
		logger.Warn("not everything was handed over", "error", err)
	}
}

func (o *options) policy() (*mapek.Policy, error) {
	if o.policyFile == "" {
		return mapek.DefaultPolicy(), nil
	}
	b, err := os.ReadFile(o.policyFile)
	if err != nil {
		return nil, fmt.Errorf("%w: --policy: %w", command.ErrUsage, err)
	}
	p, err := mapek.ParsePolicy(b)
	if err != nil {
		return nil, fmt.Errorf("%w: --policy %s: %w", command.ErrUsage, o.policyFile, err)
	}
	return p, nil
}

// parseListen reads an address whose host may be missing.
func parseListen(s string) (netip.AddrPort, error) {
	if strings.HasPrefix(s, ":") {
		s = "[::]" + s
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return a, fmt.Errorf("%w: --listen: %w", command.ErrUsage, err)
	}
	return a, nil
}

// tokenKept is how long a token counts after it was read.
const tokenKept = time.Second

// readToken returns a function that tells the token of a file. Every request asks, so it reads the file only if it has not for
// tokenKept; one that cannot be read, or is empty as while it is written, is read each time.
func readToken(file string) func() (string, error) {
	var mu sync.Mutex
	var token string
	var read time.Time
	return func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if age := time.Since(read); token != "" && age >= 0 && age < tokenKept {
			return token, nil
		}
		b, err := os.ReadFile(file)
		token, read = strings.TrimSpace(string(b)), time.Now()
		return token, err
	}
}

func debugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
