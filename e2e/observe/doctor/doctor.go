package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// New is a cluster that the suite has opened, with its Prometheus, the manifests of the mesh that is to come, and the
// project's images as they are published.
func New(c *cluster.Cluster, prometheus promv1.API, mesh fs.FS, published image.Published) *Cluster {
	return &Cluster{
		Kube: c.Kubernetes, Client: c.Client.Resources().GetControllerRuntimeClient(), Exec: c.Client.Resources(),
		Prometheus: prometheus, Mesh: mesh, Images: []string{published.Ref(image.Chaos), published.Ref(image.Probe)}, Wait: imagesWithin,
	}
}

// Finding is one thing that is not as the suite needs it.
type Finding struct {
	Fatal   bool   // no run can prove anything; otherwise some scenarios cannot
	Passing bool   // it may be over in a minute, by itself
	What    string // in one line
	Mend    string // a command, or what to do
}

// String is the finding in one line.
func (f Finding) String() string {
	level := "note "
	if f.Fatal {
		level = "fatal"
	}
	return fmt.Sprintf("%s  %s: %s", level, f.What, f.Mend)
}

// note is a finding with which most of a run still proves something.
func note(mend, format string, args ...any) Finding {
	what := fmt.Sprintf(format, args...)
	return Finding{What: strings.Join(strings.Fields(what), " "), Mend: mend} // what others say may be of many lines
}

func fatal(mend, format string, args ...any) Finding {
	f := note(mend, format, args...)
	f.Fatal = true
	return f
}

// passing is a fatal finding of what has perhaps only just begun.
func passing(mend, format string, args ...any) Finding {
	f := fatal(mend, format, args...)
	f.Passing = true
	return f
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
	{"StorageClasses", storage},
	{"machines", machines},
	{"images", images},
}

// Fatal tells whether any of the findings is.
func Fatal(all []Finding) bool {
	return slices.ContainsFunc(all, func(f Finding) bool { return f.Fatal })
}

// passes tells whether all of the findings that are fatal may be over by themselves.
func passes(all []Finding) bool {
	return Fatal(all) && !slices.ContainsFunc(all, func(f Finding) bool { return f.Fatal && !f.Passing })
}

const (
	passesWithin = time.Minute
	looksEvery   = 5 * time.Second
)

// Await examines a cluster until nothing fatal is found, or what would not pass, for up to a minute. It says what it waits for.
func Await(ctx context.Context, c *Cluster, say func(string)) []Finding {
	return await(ctx, func() []Finding { return Examine(ctx, c) }, say)
}

func await(ctx context.Context, look func() []Finding, say func(string)) []Finding {
	said, until := "", time.Now().Add(passesWithin)
	for {
		found := look()
		if !passes(found) || time.Now().After(until) {
			return found
		}
		i := slices.IndexFunc(found, func(f Finding) bool { return f.Fatal })
		if what := found[i].What; what != said {
			say(fmt.Sprintf("waiting for up to %v: %s", passesWithin, what))
			said = what
		}
		select {
		case <-time.After(looksEvery):
		case <-ctx.Done():
			return found
		}
	}
}

// tryAgain is what mends a cluster that does not answer.
const tryAgain = "see that the API server and the cluster's network work, then try again"

// Examine looks at all of it that the user may. What cannot be looked at is a finding, too, and a fatal one.
func Examine(ctx context.Context, c *Cluster) []Finding {
	all, err := examine(ctx, c, check{"what this user may do", rights})
	denied := len(all) > 0
	all = append(all, failed("what this user may do", err)...)
	for _, k := range checks {
		found, err := examine(ctx, c, k)
		all = append(all, found...)
		if denied && apierrors.IsForbidden(err) {
			continue // it was said what this user may not do
		}
		all = append(all, failed(k.what, err)...)
	}
	return all
}

func examine(ctx context.Context, c *Cluster, k check) ([]Finding, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookWithin+c.Wait, fmt.Errorf("no answer within %v", lookWithin+c.Wait))
	defer cancel()
	return k.look(ctx, c)
}

func failed(what string, err error) []Finding {
	if err == nil {
		return nil
	}
	return []Finding{passing(tryAgain, "%s cannot be looked at: %v", what, err)}
}
