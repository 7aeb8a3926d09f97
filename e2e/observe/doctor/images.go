package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
)

// told is how many images a kubelet tells of at most, unless it is set otherwise (nodeStatusMaxImages). Who tells of so
// many may have more.
const told = 50

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
		return len(found) == 0, nil
	})
	return found, err
}

func missingImages(machines []corev1.Node, needed []string) (found []Finding) {
	for _, m := range machines {
		if len(m.Status.Images) >= told {
			continue
		}
		var has, lacks []string
		for _, i := range m.Status.Images {
			for _, n := range i.Names {
				has = append(has, whole(n))
			}
		}
		for _, n := range needed {
			if !slices.Contains(has, whole(n)) {
				lacks = append(lacks, n)
			}
		}
		if len(lacks) > 0 {
			found = append(found, fatal("make images, then bring them there: kind load docker-image "+strings.Join(lacks, " "),
				"%s does not have %s", m.Name, strings.Join(lacks, ", ")))
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
func neededImages(ctx context.Context, c *Cluster) ([]string, error) {
	objects, err := mesh.Load(ctx, c.Mesh, mesh.Documented)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(c.Images)
	for _, o := range objects {
		for _, kind := range []string{"containers", "initContainers"} {
			list, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", kind)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
			}
			for _, v := range list {
				if v, ok := v.(map[string]any); ok {
					image, _, err := unstructured.NestedString(v, "image")
					if err != nil {
						return nil, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
					}
					all = append(all, image)
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
