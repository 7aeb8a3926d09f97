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
	deployments, err := controllersOf(ctx, c)
	if err != nil {
		return found, err
	}
	if len(deployments) == 0 {
		return append(found, fatal(installChaosMesh, "Chaos Mesh's kinds are here, but no Deployment of its controllers")), nil
	}
	for _, d := range deployments {
		found = append(found, controllersReady(d)...)
	}
	more, err := daemonsReady(ctx, c)
	if found = append(found, more...); err != nil || Fatal(found) {
		return found, err // who is not there admits nothing
	}
	if err := fault.Admitted(ctx, c.Client); err != nil {
		d := deployments[0]
		found = append(found, passing(fmt.Sprintf("kubectl -n %s logs deployment/%s", d.Namespace, d.Name), "Chaos Mesh's webhooks admit no object: %v", err))
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

// scopeVariable says whether controllers serve more than a namespace of their own. Chaos Mesh's chart always sets it.
const scopeVariable = "CLUSTER_SCOPED"

// controllersOf lists the Deployments of Chaos Mesh's controllers, whatever name its chart was given.
func controllersOf(ctx context.Context, c *Cluster) ([]appsv1.Deployment, error) {
	l, err := c.Kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{LabelSelector: componentLabel + "=" + controllers})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(l.Items, func(d appsv1.Deployment) bool {
		return d.Labels["app.kubernetes.io/part-of"] != "chaos-mesh" && setting(d, scopeVariable) == ""
	}), nil
}

// controllersReady looks at Chaos Mesh's controllers, and at the namespaces that they are set to serve.
func controllersReady(d appsv1.Deployment) (found []Finding) {
	where := fmt.Sprintf("-n %s deployment/%s", d.Namespace, d.Name)
	switch has, wants := d.Status.AvailableReplicas, mesh.Replicas(d.Spec.Replicas); {
	case has == 0:
		found = append(found, passing("kubectl describe "+where, "Chaos Mesh's controllers are not ready: 0 of %d pods are", wants))
	case has < wants:
		found = append(found, note("kubectl describe "+where, "of Chaos Mesh's controllers %d of %d pods are ready", has, wants))
	}
	if setting(d, "ENABLE_FILTER_NAMESPACE") == "true" {
		found = append(found, fatal("kubectl set env "+where+" ENABLE_FILTER_NAMESPACE=false",
			"Chaos Mesh serves only namespaces that an annotation allows, and each scenario makes one of its own"))
	}
	if setting(d, scopeVariable) == "false" {
		found = append(found, fatal("helm upgrade chaos-mesh chaos-mesh/chaos-mesh --namespace "+d.Namespace+" --reuse-values --set clusterScoped=true",
			"Chaos Mesh serves only namespace %s, and each scenario makes one of its own", setting(d, "TARGET_NAMESPACE")))
	}
	return found
}

// setting is the value of an environment variable of a Deployment's pods.
func setting(d appsv1.Deployment, name string) string {
	for _, container := range d.Spec.Template.Spec.Containers {
		for _, e := range container.Env {
			if e.Name == name {
				return e.Value
			}
		}
	}
	return ""
}

// daemonsReady looks for a ready daemon on each machine that a node of the mesh may come to, and whether it is set to the
// container runtime there.
func daemonsReady(ctx context.Context, c *Cluster) (found []Finding, err error) {
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
		d := served(m.Name)
		if d == nil {
			without = append(without, m.Name)
			continue
		}
		set, runs := flagOf(*d, "--runtime"), runtimeOf(m)
		if socket, known := sockets[runs]; known && set != "" && set != runs {
			found = append(found, fatal(fmt.Sprintf("helm upgrade chaos-mesh chaos-mesh/chaos-mesh --namespace %s --reuse-values --set chaosDaemon.runtime=%s,chaosDaemon.socketPath=%s", d.Namespace, runs, socket),
				"%s: containers are run by %s there, and the daemon of Chaos Mesh is set to %s: nothing can be injected", m.Name, runs, set))
		}
	}
	if len(without) > 0 {
		found = append(found, passing("kubectl get pods -A -o wide -l "+componentLabel+"="+daemon, "no daemon of Chaos Mesh is ready on %s", strings.Join(without, ", ")))
	}
	return found, nil
}

// sockets are where the runtimes listen that Chaos Mesh knows, by the names that it gives them.
var sockets = map[string]string{
	"containerd": "/run/containerd/containerd.sock", "docker": "/var/run/docker.sock", "crio": "/var/run/crio/crio.sock",
}

// runtimeOf is what runs the containers of a machine, as Chaos Mesh names it.
func runtimeOf(m corev1.Node) string {
	name, _, _ := strings.Cut(m.Status.NodeInfo.ContainerRuntimeVersion, "://")
	return strings.ReplaceAll(name, "-", "") // cri-o
}

// flagOf is the value of a flag that a pod's commands are given; none where they are not.
func flagOf(p corev1.Pod, flag string) string {
	for _, container := range p.Spec.Containers {
		words := slices.Concat(container.Command, container.Args)
		for i, w := range words {
			if value, ok := strings.CutPrefix(w, flag+"="); ok {
				return value
			}
			if w == flag && i+1 < len(words) {
				return words[i+1]
			}
		}
	}
	return ""
}

// readyDaemons tells which daemon of Chaos Mesh is ready on a machine.
func readyDaemons(ctx context.Context, c *Cluster) (func(machine string) *corev1.Pod, error) {
	l, err := c.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: componentLabel + "=" + daemon})
	if err != nil {
		return nil, err
	}
	return func(machine string) *corev1.Pod {
		i := slices.IndexFunc(l.Items, func(p corev1.Pod) bool { return p.Spec.NodeName == machine && fault.Ready(p) })
		if i < 0 {
			return nil
		}
		return &l.Items[i]
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
				found = append(found, passing("kubectl describe apiservice "+s.GetName(),
					"the aggregated API %s does not answer (%v), and no namespace can be removed until it does", s.GetName(), v["reason"]))
			}
		}
	}
	if !measured {
		found = append(found, note("kubectl apply -f manifests/metrics-server", "there is no metrics-server, and without it no autoscaler acts: resource-stress fails"))
	}
	return found, nil
}
