package mesh

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/e2e-framework/klient/decoder"
	"sigs.k8s.io/e2e-framework/klient/k8s"
)

const (
	// Documented is the namespace that manifests and fixtures are written for.
	Documented = "x0tta6bl4"
	// OwnerLabel marks what the suite made, with the scenario's namespace as
	// its value, so that leftovers can be found.
	OwnerLabel = "x0tta6bl4.test/scenario"

	// nodeContainer is the node's container in its pod.
	nodeContainer = "node"
)

// order is that of creation; kinds that are not listed come last.
var order = []string{
	"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
	"NetworkPolicy", "ConfigMap", "Secret", "Service", "PodDisruptionBudget",
}

// clusterScoped are the kinds of the manifests that live in no namespace.
var clusterScoped = []string{"Namespace", "ClusterRole", "ClusterRoleBinding"}

// mention matches the documented namespace where a string refers to it: alone,
// in a Service's DNS name, in a flag's value, in a service account's name.
var mention = regexp.MustCompile(`(^|[=.:])` + Documented + `(\.svc|:|$)`)

// Load decodes the manifests of a file system and moves them into namespace.
// Objects come in the order in which they have to be created.
func Load(ctx context.Context, manifests fs.FS, namespace string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	err := decoder.DecodeEachFile(ctx, manifests, "*.yaml", func(_ context.Context, o k8s.Object) error {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return err
		}
		gvk := o.GetObjectKind().GroupVersionKind()
		u := &unstructured.Unstructured{Object: content}
		u.SetGroupVersionKind(gvk)
		if u.GetKind() == "" || u.GetName() == "" {
			return fmt.Errorf("an object without kind or name: %v", gvk)
		}
		objects = append(objects, u)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mesh manifests: %w", err)
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("mesh manifests: there are none")
	}
	// The suite makes the namespace itself.
	objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Namespace" })
	retarget(objects, namespace)
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return cmp.Compare(rank(a), rank(b)) })
	return objects, nil
}

func rank(o *unstructured.Unstructured) int {
	if i := slices.Index(order, o.GetKind()); i >= 0 {
		return i
	}
	return len(order)
}

// retarget moves objects into a namespace. Cluster-scoped ones get its name as
// a suffix, and references to them follow.
func retarget(objects []*unstructured.Unstructured, namespace string) {
	roles := map[string]bool{}
	for _, o := range objects {
		if o.GetKind() == "ClusterRole" {
			roles[o.GetName()] = true
		}
	}
	for _, o := range objects {
		rewritten, ok := rewrite(o.Object, "", namespace).(map[string]any)
		if !ok {
			continue // rewrite keeps the type
		}
		o.Object = rewritten
		if slices.Contains(clusterScoped, o.GetKind()) {
			o.SetName(o.GetName() + "-" + namespace)
		} else {
			o.SetNamespace(namespace)
		}
		if ref, ok := o.Object["roleRef"].(map[string]any); ok {
			if name, ok := ref["name"].(string); ok && ref["kind"] == "ClusterRole" && roles[name] {
				ref["name"] = name + "-" + namespace
			}
		}
		labels := o.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[OwnerLabel] = namespace
		o.SetLabels(labels)
	}
}

// mountsTrust reports whether the pods of a workload mount the bundle that the CA publishes.
func mountsTrust(o client.Object) bool {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return false
	}
	volumes, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "volumes")
	return slices.ContainsFunc(volumes, func(v any) bool {
		volume, _ := v.(map[string]any)
		name, _, _ := unstructured.NestedString(volume, "configMap", "name")
		return name == trustMap
	})
}

// addNodeArgs appends flags to the command line of every node.
func addNodeArgs(objects []*unstructured.Unstructured, args []string) error {
	if len(args) == 0 {
		return nil
	}
	found := false
	for _, o := range objects {
		if o.GetKind() != "StatefulSet" {
			continue
		}
		path := []string{"spec", "template", "spec", "containers"}
		containers, _, err := unstructured.NestedSlice(o.Object, path...)
		if err != nil {
			return fmt.Errorf("StatefulSet %s: %w", o.GetName(), err)
		}
		for _, c := range containers {
			c, ok := c.(map[string]any)
			if !ok || c["name"] != nodeContainer {
				continue
			}
			old, _, err := unstructured.NestedStringSlice(c, "args")
			if err != nil {
				return fmt.Errorf("StatefulSet %s: %w", o.GetName(), err)
			}
			if err := unstructured.SetNestedStringSlice(c, slices.Concat(old, args), "args"); err != nil {
				return fmt.Errorf("StatefulSet %s: %w", o.GetName(), err)
			}
			found = true
		}
		if err := unstructured.SetNestedSlice(o.Object, containers, path...); err != nil {
			return fmt.Errorf("StatefulSet %s: %w", o.GetName(), err)
		}
	}
	if !found {
		return fmt.Errorf("mesh manifests: no StatefulSet has a container %q to give %v to", nodeContainer, args)
	}
	return nil
}

// rewrite returns v with every mention of the documented namespace replaced.
// Names, images and the recommended labels may carry the same word and mean
// the project by it.
func rewrite(v any, key, namespace string) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = rewrite(e, k, namespace)
		}
	case []any:
		for i, e := range v {
			v[i] = rewrite(e, key, namespace)
		}
	case string:
		if key == "name" || key == "image" || strings.HasPrefix(key, "app.kubernetes.io/") {
			return v
		}
		return mention.ReplaceAllString(v, "${1}"+namespace+"${2}")
	}
	return v
}
