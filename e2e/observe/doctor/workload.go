package doctor

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
)

// workload makes pods of the mesh.
type workload struct {
	name string // StatefulSet mesh-node-a
	pod  corev1.PodTemplateSpec
}

// workloads are those of the mesh that is to come, with its Services.
func workloads(ctx context.Context, c *Cluster) (all []workload, services []corev1.Service, err error) {
	objects, err := mesh.Load(ctx, c.Mesh, mesh.Documented)
	if err != nil {
		return nil, nil, err
	}
	convert := runtime.DefaultUnstructuredConverter.FromUnstructured
	for _, o := range objects {
		w := workload{name: o.GetKind() + " " + o.GetName()}
		template, found, err := unstructured.NestedMap(o.Object, "spec", "template")
		switch {
		case err != nil:
		case o.GetKind() == "Service":
			var s corev1.Service
			err = convert(o.Object, &s)
			services = append(services, s)
		case found:
			if err = convert(template, &w.pod); err == nil {
				err = w.mount(o)
			}
			all = append(all, w)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return all, services, nil
}

// mount gives the pod the volumes that a StatefulSet's controller adds for its claims.
func (w *workload) mount(o *unstructured.Unstructured) error {
	claims, _, err := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
	for _, c := range claims {
		claim, _ := c.(map[string]any)
		name, _, e := unstructured.NestedString(claim, "metadata", "name")
		err = errors.Join(err, e)
		w.pod.Spec.Volumes = append(w.pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name + "-" + o.GetName() + "-0"},
		}})
	}
	return err
}
