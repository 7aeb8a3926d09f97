// Package cluster makes the cluster that the suite runs in: a kind cluster with Chaos
// Mesh, Prometheus, metrics-server and volumes, or an existing one.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/e2e-framework/klient"
	"sigs.k8s.io/e2e-framework/support/kind"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster/remains"
	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/host"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/ground/progress"
)

// ErrUsage is the error of what a person has to change before anything can run.
var ErrUsage = errors.New("cannot start")

const (
	createTimeout = 5 * time.Minute
	deployTimeout = 5 * time.Minute
	systemTimeout = 3 * time.Minute // for everything deployed to be available
)

// Options say which cluster to use.
type Options struct {
	Kubeconfig string // of an existing cluster; empty: make one
	Name       string // of the cluster to make; empty: remains.Run()
	Network    Network
	Log        *os.File
	OnPhase    func(name string, took time.Duration) // may be nil
}

// Cluster is a cluster that is ready for the suite.
type Cluster struct {
	Config     *rest.Config
	Client     klient.Client // knows Chaos Mesh's objects
	Kubernetes kubernetes.Interface
	Prometheus string // namespace/service:port
	PauseImage string
	Created    bool
	Kubeconfig string // path, if Created
	Images     []image.Image

	name   string
	net    Network
	kind   *kind.Cluster
	engine *engine.Engine
	dir    string // private: the kubeconfig and kind's configuration
	lock   *engine.Lock
}

// Up makes the cluster, or opens an existing one. Where it fails after it has made something,
// it returns what there is, for Down. The error wraps ErrUsage where a person
// has to change something first.
func Up(ctx context.Context, o Options) (*Cluster, error) {
	if err := o.Network.Check(); err != nil {
		return nil, usage(err)
	}
	if o.Kubeconfig != "" {
		if o.Network != (Network{}) {
			return nil, usage(errors.New("family and MTU are those of the cluster that the kubeconfig is of: leave them out"))
		}
		return existing(o.Kubeconfig)
	}
	if o.Name == "" {
		o.Name = remains.Run()
	}
	project, err := Project()
	if err != nil {
		return nil, err
	}
	if err := host.CheckKernel(); err != nil {
		return nil, usage(err)
	}
	c := &Cluster{Created: true, Prometheus: prometheus, PauseImage: image.Pause, name: o.Name, net: o.Network}
	if c.lock, err = engine.Acquire(o.Name); err != nil {
		return nil, usage(err)
	}
	steps := progress.New(o.Log)
	defer func() {
		steps.Close()
		for _, p := range steps.Phases() {
			if o.OnPhase != nil {
				o.OnPhase(p.Name, time.Duration(p.Seconds*float64(time.Second)))
			}
		}
	}()
	return c, c.up(ctx, project, steps)
}

// Preflight finds out, without making anything that stays, whether Up can make a
// cluster here. The error wraps ErrUsage where a person has to change something first.
func Preflight(ctx context.Context) (err error) {
	project, err := Project()
	if err != nil {
		return err
	}
	if err := host.CheckKernel(); err != nil {
		return usage(err)
	}
	if err := host.CheckMachine(); err != nil {
		return usage(err)
	}
	if err := engine.Free(remains.Run()); err != nil {
		return usage(err)
	}
	e, err := engine.Ensure(ctx, project)
	if err != nil {
		return usage(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Release(context.WithoutCancel(ctx)))
		} else {
			err = e.Leave() // Up takes it up again
		}
	}()
	quiet, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer quiet.Close()
	steps := progress.New(quiet)
	defer steps.Close()
	store, err := image.Open(project, e, steps, io.Discard)
	if err != nil {
		return usage(err)
	}
	if _, err = store.Find(ctx); errors.Is(err, image.ErrMissing) {
		return usage(err)
	}
	return err
}

func (c *Cluster) up(ctx context.Context, project string, steps *progress.Reporter) error {
	step := steps.Step("Docker engine")
	var err error
	if c.engine, err = engine.Ensure(ctx, project); err != nil {
		return step.End("", usage(err))
	}
	_ = step.End(c.engine.Describe(), nil)

	step = steps.Step("find the images")
	store, err := image.Open(project, c.engine, steps, io.Discard)
	if err != nil {
		return step.End("", usage(err))
	}
	set, err := store.Find(ctx)
	if errors.Is(err, image.ErrMissing) {
		err = usage(err)
	}
	if err := step.End("", err); err != nil {
		return err
	}
	c.Images = set.Images

	step = steps.Step("create the kind cluster")
	if err := step.End("", within(ctx, createTimeout, "kind create cluster", func(ctx context.Context) error {
		return c.create(ctx, project, set, step.Detail)
	})); err != nil {
		return err
	}
	step = steps.Step("deploy Chaos Mesh, Prometheus and metrics-server")
	return step.End("", within(ctx, deployTimeout, "deploy", func(ctx context.Context) error {
		return c.deploy(ctx, step.Detail)
	}))
}

// Down removes everything that Up made; to an existing cluster it does nothing. It may be
// called again after a failure.
func (c *Cluster) Down(ctx context.Context) error {
	if !c.Created {
		return nil
	}
	var err error
	if c.engine != nil {
		err = errors.Join(remains.Remove(ctx, c.engine, c.name), c.engine.Release(ctx))
	}
	if c.dir != "" {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return errors.Join(err, c.Leave())
}

// Leave gives the cluster up without removing it.
func (c *Cluster) Leave() error {
	if c.lock == nil {
		return nil
	}
	lock := c.lock
	c.lock = nil
	return lock.Release()
}

// existing opens the cluster of a kubeconfig, which is to have Chaos Mesh and Prometheus of its own. Whether it has is
// for package doctor to say.
func existing(path string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, usage(fmt.Errorf("kubeconfig %s: %w", path, err))
	}
	c := &Cluster{Config: config, Prometheus: prometheus, PauseImage: image.Pause, Kubeconfig: path}
	return c, c.connect()
}

// connect makes the clients of c.Config.
func (c *Cluster) connect() (err error) {
	c.Config.QPS = -1 // no limit here: the suite asks for many pods every second, and the API server has limits of its own
	if c.Client, err = klient.New(c.Config); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if err := v1alpha1.AddToScheme(c.Client.Resources().GetScheme()); err != nil {
		return err
	}
	c.Kubernetes, err = kubernetes.NewForConfig(c.Config)
	return err
}

// Project returns the root of this project, above the working directory.
func Project() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "kind-config.yaml")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", usage(errors.New("call this inside the project's directory: kind-config.yaml is not found"))
		}
	}
}

func usage(err error) error { return fmt.Errorf("%w: %w", ErrUsage, err) }

// within bounds f, and names it in the error when its time is up.
func within(ctx context.Context, limit time.Duration, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s took longer than %s", what, limit))
	defer cancel()
	err := f(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}
