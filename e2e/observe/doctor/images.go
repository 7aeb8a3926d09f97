package doctor

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// told is how many images a kubelet tells of at most, unless it is set otherwise (nodeStatusMaxImages). Who tells of so
// many may have more.
const told = 50

// own is what the images are called that are made here. By tag they are in no registry; make push tells those by digest.
const own = "index.docker.io/x0tta6bl4/"

// images looks for the images on each machine, as far as kubelets tell. They tell of a new one after up to a minute.
func images(ctx context.Context, c *Cluster) ([]Finding, error) {
	needed, err := neededImages(ctx, c)
	if err != nil {
		return nil, err
	}
	var found []Finding
	ctx, cancel := context.WithTimeout(ctx, max(c.Wait, time.Second))
	defer cancel()
	// The time being up is no error: then what is missing still is.
	_ = wait.PollUntilContextCancel(ctx, 2*time.Second, true, func(ctx context.Context) (bool, error) {
		var usable []corev1.Node
		if usable, err = usableMachines(ctx, c); err != nil {
			return false, nil
		}
		found = missingImages(usable, needed)
		return !Fatal(found), nil
	})
	return found, err
}

// missingImages finds what machines do not have. An image that was made here is in no registry; another one may be pulled.
func missingImages(machines []corev1.Node, needed map[string]corev1.PullPolicy) (found []Finding) {
	for _, m := range machines {
		if n := len(m.Status.Images); n == 0 || n >= told { // its kubelet tells of none, or not of all
			continue
		}
		var has, lacks, pulled []string
		for _, i := range m.Status.Images {
			for _, n := range i.Names {
				has = append(has, whole(n))
			}
		}
		for _, n := range slices.Sorted(maps.Keys(needed)) {
			switch {
			case slices.Contains(has, whole(n)):
			case strings.HasPrefix(whole(n), own) && !strings.Contains(n, "@") || needed[n] == corev1.PullNever:
				lacks = append(lacks, n)
			default:
				pulled = append(pulled, n)
			}
		}
		if len(lacks) > 0 {
			found = append(found, fatal("make images, and load them there from the engine (in kind: kind load docker-image "+strings.Join(lacks, " ")+"), or make push REGISTRY=host/prefix, and run with -images host/prefix",
				"%s does not have %s", m.Name, strings.Join(lacks, ", ")))
		}
		if len(pulled) > 0 {
			found = append(found, note("pull it there beforehand, or wait longer for the first scenario", "%s does not have %s yet", m.Name, strings.Join(pulled, ", ")))
		}
	}
	return found
}

// whole is an image's name with its registry and tag.
func whole(image string) string {
	if r, err := name.ParseReference(image); err == nil {
		return r.Name()
	}
	return image
}

// neededImages are those of the mesh's pods, and further ones.
func neededImages(ctx context.Context, c *Cluster) (map[string]corev1.PullPolicy, error) {
	all, _, err := workloads(ctx, c)
	if err != nil {
		return nil, err
	}
	needed := map[string]corev1.PullPolicy{}
	for _, i := range c.Images {
		needed[i] = corev1.PullIfNotPresent
	}
	for _, w := range all {
		for _, container := range slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers) {
			needed[container.Image] = container.ImagePullPolicy
		}
	}
	return needed, nil
}
