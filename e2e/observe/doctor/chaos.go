package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
)

// needed are Chaos Mesh's kinds that fixtures are of, or that the suite reads.
var needed = []string{"NetworkChaos", "PodChaos", "StressChaos", "IOChaos", "TimeChaos", "Schedule", "PodNetworkChaos", "PodIOChaos"}

const (
	componentLabel = "app.kubernetes.io/component"
	controllers    = "controller-manager"
	daemon         = "chaos-daemon"

	installChaosMesh = "helm install chaos-mesh chaos-mesh/chaos-mesh --namespace chaos-mesh --create-namespace, with chaosDaemon.runtime and .socketPath of the cluster"
	replaceKinds     = "kubectl apply --server-side --force-conflicts -f manifests/chaos-mesh/crds.yaml"
)

var crdKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// chaosMesh looks for Chaos Mesh: its kinds, its controllers and how they are set, its daemons, its webhooks.
func chaosMesh(ctx context.Context, c *Cluster) ([]Finding, error) {
	found, absent, err := kinds(ctx, c)
	if err != nil || absent == len(needed) {
		return found, err
	}
	for _, look := range []func(context.Context, *Cluster) ([]Finding, error){controllersReady, daemonsReady} {
		more, err := look(ctx, c)
		found = append(found, more...)
		if err != nil {
			return found, err
		}
	}
	if len(found) > 0 {
		return found, nil // who is not there admits nothing
	}
	if err := fault.Admitted(ctx, c.Client); err != nil {
		found = append(found, fatal("kubectl -n chaos-mesh logs deployment/chaos-controller-manager", "Chaos Mesh's webhooks admit no object: %v", err))
	}
	return found, nil
}

// kinds compares the cluster's definitions of Chaos Mesh's kinds with those that the suite is made for.
func kinds(ctx context.Context, c *Cluster) (found []Finding, absent int, err error) {
	pinned, err := pinnedKinds()
	if err != nil {
		return nil, 0, err
	}
	var missing, other []string
	for _, p := range pinned {
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(crdKind)
		err := c.Client.Get(ctx, client.ObjectKey{Name: p.name}, crd)
		switch {
		case apierrors.IsNotFound(err):
			missing = append(missing, p.plural())
			continue
		case err != nil:
			return nil, 0, err
		}
		served, err := schemaOf(crd.Object)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", p.name, err)
		}
		if !bytes.Equal(served, p.schema) {
			other = append(other, p.plural())
		}
	}
	switch {
	case len(missing) == len(needed):
		return []Finding{fatal(installChaosMesh, "Chaos Mesh is not installed")}, len(missing), nil
	case len(missing) > 0:
		found = append(found, fatal(replaceKinds, "Chaos Mesh has no %s", strings.Join(missing, ", ")))
	}
	if len(other) > 0 {
		found = append(found, note(replaceKinds, "Chaos Mesh's %s differ from those that the suite is made for, and may lose what a fixture says", strings.Join(other, ", ")))
	}
	return found, len(missing), nil
}

// pinned is a definition that the suite is made for.
type pinned struct {
	name   string // networkchaos.chaos-mesh.org
	schema []byte
}

// plural is how people call the kind.
func (p pinned) plural() string { return strings.TrimSuffix(p.name, ".chaos-mesh.org") }

// pinnedKinds returns the definitions of the needed kinds, in their order. To read them takes a second.
var pinnedKinds = sync.OnceValues(func() ([]pinned, error) {
	definitions, err := fault.Definitions()
	if err != nil {
		return nil, err
	}
	var all []pinned
	for _, kind := range needed {
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(definitions[kind], &crd.Object); err != nil {
			return nil, fmt.Errorf("the pinned CRD of %s: %w", kind, err)
		}
		schema, err := schemaOf(crd.Object)
		if err != nil {
			return nil, fmt.Errorf("the pinned CRD of %s: %w", kind, err)
		}
		all = append(all, pinned{crd.GetName(), schema})
	}
	return all, nil
})

// schemaOf is the schema of version v1alpha1 of a definition, without its words for people.
func schemaOf(crd map[string]any) ([]byte, error) {
	versions, _, err := unstructured.NestedSlice(crd, "spec", "versions")
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		if v, ok := v.(map[string]any); ok && v["name"] == "v1alpha1" {
			return json.Marshal(wordless(v["schema"]))
		}
	}
	return nil, fmt.Errorf("no version v1alpha1")
}

// wordless drops descriptions: a text, where a property of that name would be an object.
func wordless(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			if _, text := e.(string); k != "description" || !text {
				m[k] = wordless(e)
			}
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = wordless(e)
		}
		return l
	default:
		return v
	}
}

// controllersReady looks at Chaos Mesh's controllers, and at the namespaces that they are set to serve.
func controllersReady(ctx context.Context, c *Cluster) ([]Finding, error) {
	l, err := c.Kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=chaos-mesh," + componentLabel + "=" + controllers})
	if err != nil {
		return nil, err
	}
	if len(l.Items) == 0 {
		return []Finding{fatal(installChaosMesh, "Chaos Mesh's kinds are here, but no Deployment of its controllers")}, nil
	}
	var found []Finding
	for _, d := range l.Items {
		where := fmt.Sprintf("-n %s deployment/%s", d.Namespace, d.Name)
		if !available(d) {
			found = append(found, fatal("kubectl describe "+where, "Chaos Mesh's controllers are not ready: %d of %d pods are", d.Status.AvailableReplicas, mesh.Replicas(d.Spec.Replicas)))
		}
		if setting(d, "ENABLE_FILTER_NAMESPACE") == "true" {
			found = append(found, fatal("kubectl set env "+where+" ENABLE_FILTER_NAMESPACE=false",
				"Chaos Mesh serves only namespaces that an annotation allows, and each scenario makes one of its own"))
		}
		if setting(d, "CLUSTER_SCOPED") == "false" {
			found = append(found, fatal("helm upgrade chaos-mesh chaos-mesh/chaos-mesh --namespace "+d.Namespace+" --reuse-values --set clusterScoped=true",
				"Chaos Mesh serves only namespace %s, and each scenario makes one of its own", setting(d, "TARGET_NAMESPACE")))
		}
	}
	return found, nil
}

func available(d appsv1.Deployment) bool {
	return d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas >= max(1, mesh.Replicas(d.Spec.Replicas))
}

// setting is the value of an environment variable of a Deployment's first container.
func setting(d appsv1.Deployment, name string) string {
	for _, container := range d.Spec.Template.Spec.Containers[:min(1, len(d.Spec.Template.Spec.Containers))] {
		for _, e := range container.Env {
			if e.Name == name {
				return e.Value
			}
		}
	}
	return ""
}

// daemonsReady looks for a ready daemon on each machine that a node of the mesh may come to.
func daemonsReady(ctx context.Context, c *Cluster) ([]Finding, error) {
	usable, err := usableMachines(ctx, c)
	if err != nil {
		return nil, err
	}
	served, err := readyDaemons(ctx, c)
	if err != nil {
		return nil, err
	}
	var without []string
	for _, m := range usable {
		if !served(m.Name) {
			without = append(without, m.Name)
		}
	}
	if len(without) == 0 {
		return nil, nil
	}
	return []Finding{fatal("kubectl get pods -A -o wide -l "+componentLabel+"="+daemon, "no daemon of Chaos Mesh is ready on %s", strings.Join(without, ", "))}, nil
}

// readyDaemons tells of a machine whether a daemon is ready there.
func readyDaemons(ctx context.Context, c *Cluster) (func(machine string) bool, error) {
	l, err := c.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: componentLabel + "=" + daemon})
	if err != nil {
		return nil, err
	}
	return func(machine string) bool {
		return slices.ContainsFunc(l.Items, func(p corev1.Pod) bool { return p.Spec.NodeName == machine && fault.Ready(p) })
	}, nil
}

// aggregated looks for APIs that other servers serve and that do not answer: metrics-server's, which autoscalers
// need, and any other, without which no namespace can be removed.
func aggregated(ctx context.Context, c *Cluster) ([]Finding, error) {
	const metrics = "v1beta1.metrics.k8s.io"
	l := &unstructured.UnstructuredList{}
	l.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIServiceList"})
	err := c.Client.List(ctx, l)
	if err != nil {
		return nil, err
	}
	var found []Finding
	measured := false
	for _, s := range l.Items {
		measured = measured || s.GetName() == metrics
		conditions, _, err := unstructured.NestedSlice(s.Object, "status", "conditions")
		if err != nil {
			return found, fmt.Errorf("APIService %s: %w", s.GetName(), err)
		}
		for _, v := range conditions {
			if v, ok := v.(map[string]any); ok && v["type"] == "Available" && v["status"] != "True" {
				found = append(found, fatal("kubectl describe apiservice "+s.GetName(),
					"the aggregated API %s does not answer (%v), and no namespace can be removed until it does", s.GetName(), v["reason"]))
			}
		}
	}
	if !measured {
		found = append(found, note("kubectl apply -f manifests/metrics-server", "there is no metrics-server, and without it no autoscaler acts: resource-stress fails"))
	}
	return found, nil
}
