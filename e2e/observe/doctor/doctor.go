// Package doctor examines a cluster before anything is deployed in it: what would keep a run of the suite from
// proving anything, each with what mends it.
//
// It changes nothing: it reads, makes dry runs, and runs commands that only look in the pods of Chaos Mesh's daemon.
package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
)

// lookWithin bounds each check.
const lookWithin = 30 * time.Second

// Cluster is what is examined.
type Cluster struct {
	Kube       kubernetes.Interface
	Client     client.Client // knows Chaos Mesh's objects
	Exec       fault.Execer
	Prometheus promv1.API
	Mesh       fs.FS         // the mesh's manifests, which need their images
	Images     []string      // further ones
	Wait       time.Duration // for images that a kubelet may not have told of yet
}

// imagesWithin is how long kubelets may take to tell of images that were brought just now.
const imagesWithin = time.Minute

// New is a cluster that the suite has opened, with its Prometheus and the manifests of the mesh that is to come.
func New(c *cluster.Cluster, prometheus promv1.API, mesh fs.FS) *Cluster {
	return &Cluster{
		Kube: c.Kubernetes, Client: c.Client.Resources().GetControllerRuntimeClient(), Exec: c.Client.Resources(),
		Prometheus: prometheus, Mesh: mesh, Images: []string{image.Chaos, image.Probe}, Wait: imagesWithin,
	}
}

// Finding is one thing that is not as the suite needs it.
type Finding struct {
	Fatal bool   // no run can prove anything; otherwise some scenarios cannot
	What  string // in one line
	Mend  string // a command, or what to do
}

// String is the finding in one line.
func (f Finding) String() string {
	level := "note "
	if f.Fatal {
		level = "fatal"
	}
	return fmt.Sprintf("%s  %s: %s", level, f.What, f.Mend)
}

func fatal(mend, format string, args ...any) Finding {
	return Finding{Fatal: true, What: fmt.Sprintf(format, args...), Mend: mend}
}

func note(mend, format string, args ...any) Finding {
	return Finding{What: fmt.Sprintf(format, args...), Mend: mend}
}

// check looks at one side of a cluster. Its error means that it could not.
type check struct {
	what string
	look func(context.Context, *Cluster) ([]Finding, error)
}

var checks = []check{
	{"Chaos Mesh", chaosMesh},
	{"Prometheus", prometheus},
	{"aggregated APIs", aggregated},
	{"namespaces", security},
	{"machines", machines},
	{"images", images},
}

// Fatal tells whether any of the findings is.
func Fatal(all []Finding) bool {
	return slices.ContainsFunc(all, func(f Finding) bool { return f.Fatal })
}

// Examine looks at all of it, if the user may. What cannot be looked at is a finding, too, and a fatal one.
func Examine(ctx context.Context, c *Cluster) []Finding {
	all := check{"what this user may do", rights}.find(ctx, c)
	if len(all) > 0 {
		return all
	}
	for _, k := range checks {
		all = append(all, k.find(ctx, c)...)
	}
	return all
}

func (k check) find(ctx context.Context, c *Cluster) []Finding {
	ctx, cancel := context.WithTimeoutCause(ctx, lookWithin+c.Wait, fmt.Errorf("no answer within %v", lookWithin+c.Wait))
	defer cancel()
	found, err := k.look(ctx, c)
	if err != nil {
		what := strings.Join(strings.Fields(err.Error()), " ") // in one line
		found = append(found, fatal("see that the API server and the cluster's network work, then try again", "%s cannot be looked at: %s", k.what, what))
	}
	return found
}
