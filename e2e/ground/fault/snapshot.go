package fault

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// list returns the experiments and schedules of a namespace, of every kind that
// the cluster knows, and its Jobs: a mesh has none of its own.
func list(ctx context.Context, c client.Client, namespace string) ([]client.Object, error) {
	var objects []client.Object
	kinds := v1alpha1.AllKindsIncludeScheduleAndWorkflow()
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		l := kinds[kind].SpawnList()
		ol, ok := l.(client.ObjectList)
		if !ok {
			continue
		}
		err := c.List(ctx, ol, client.InNamespace(namespace))
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return objects, fmt.Errorf("list %s: %w", kind, err)
		}
		items, err := meta.ExtractList(ol)
		if err != nil {
			return objects, fmt.Errorf("list %s: %w", kind, err)
		}
		for _, item := range items {
			if o, ok := item.(client.Object); ok {
				objects = append(objects, o)
			}
		}
	}
	var jobs batchv1.JobList
	if err := c.List(ctx, &jobs, client.InNamespace(namespace)); err != nil {
		return objects, fmt.Errorf("list Jobs: %w", err)
	}
	for i := range jobs.Items {
		objects = append(objects, &jobs.Items[i])
	}
	return objects, nil
}

// Snapshot returns the Chaos Mesh objects and Jobs of a namespace as YAML with their
// status, by file name.
func Snapshot(ctx context.Context, c client.Client, namespace string) (map[string][]byte, error) {
	objects, err := list(ctx, c, namespace)
	if err != nil {
		return nil, err
	}
	var network v1alpha1.PodNetworkChaosList
	if err := c.List(ctx, &network, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list PodNetworkChaos: %w", err)
	}
	for i := range network.Items {
		objects = append(objects, &network.Items[i])
	}
	var disks v1alpha1.PodIOChaosList
	if err := c.List(ctx, &disks, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list PodIOChaos: %w", err)
	}
	for i := range disks.Items {
		objects = append(objects, &disks.Items[i])
	}
	files := map[string][]byte{}
	for _, o := range objects {
		o.SetManagedFields(nil)
		b, err := yaml.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", o.GetName(), err)
		}
		files[fmt.Sprintf("%s-%s.yaml", kindOf(o), o.GetName())] = b
	}
	return files, nil
}
