package doctor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ktesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/manifests"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// world is a cluster as an API server and a Prometheus tell of it.
type world struct {
	machines    []corev1.Node
	daemons     []corev1.Pod
	controllers appsv1.Deployment
	kinds       map[string]*unstructured.Unstructured
	services    map[string]*unstructured.Unstructured // APIServices
	says        string                                // what each machine says of itself
	ahead       time.Duration                         // of its clock
	denied      string                                // a right, as verb resource
	admits      error
	level       string // what new namespaces get; empty: what they ask for
	refuses     error  // pods
	classes     []storagev1.StorageClass
	config      string // of Prometheus; empty: there is none
	alerts      []string
	evaluated   float64 // seconds between two looks at them
	published   string  // a further image
}

const container = `types
capabilities 000001ffffffffff
users 0 0 4294967295
filters
mtu eth0 1500
`

// definitions are those that the suite deploys, by the kinds' plurals. To read them takes a while.
var definitions = sync.OnceValues(func() (map[string]*unstructured.Unstructured, error) {
	all, err := fault.Definitions()
	if err != nil {
		return nil, err
	}
	kinds := map[string]*unstructured.Unstructured{}
	for _, kind := range needed {
		j, err := yaml.YAMLToJSON(all[kind])
		if err != nil {
			return nil, err
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(j); err != nil {
			return nil, err
		}
		kinds[strings.TrimSuffix(o.GetName(), ".chaos-mesh.org")] = o
	}
	return kinds, nil
})

// sound is a world without a defect.
func sound(t *testing.T) *world {
	t.Helper()
	w := &world{says: container, evaluated: 1}
	w.classes = []storagev1.StorageClass{{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Provisioner: "others"}, *theDefault("standard", 0)}
	yes := corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	for _, name := range []string{"one", "two"} {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
		n.Status.NodeInfo = corev1.NodeSystemInfo{
			KernelVersion: "6.12.0-44-amd64", OperatingSystem: "linux", Architecture: goruntime.GOARCH, ContainerRuntimeVersion: "containerd://2.1.4",
		}
		for _, i := range []string{"meshnode", "meshchaos", "probe"} {
			n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{"docker.io/x0tta6bl4/" + i + ":dev"}})
		}
		w.machines = append(w.machines, n)
		w.daemons = append(w.daemons, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "chaos-daemon-" + name, Namespace: "chaos-mesh", Labels: map[string]string{componentLabel: daemon}},
			Spec: corev1.PodSpec{NodeName: name, Containers: []corev1.Container{
				{Name: daemon, Command: []string{"chaos-daemon", "--runtime", "containerd", "--http-port", "31766"}},
			}}, Status: yes,
		})
	}
	control := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "control-plane"}}
	control.Spec.Taints = []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}}
	w.machines = append(w.machines, control)

	w.controllers = appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "chaos-controller-manager", Namespace: "chaos-mesh", Labels: map[string]string{
			"app.kubernetes.io/part-of": "chaos-mesh", componentLabel: controllers,
		}},
		Status: appsv1.DeploymentStatus{AvailableReplicas: 1},
	}
	w.controllers.Spec.Template.Spec.Containers = []corev1.Container{{Env: []corev1.EnvVar{
		{Name: "TARGET_NAMESPACE", Value: "chaos-mesh"}, {Name: "CLUSTER_SCOPED", Value: "true"}, {Name: "ENABLE_FILTER_NAMESPACE", Value: "false"},
	}}}

	all, err := definitions()
	if err != nil {
		t.Fatal(err)
	}
	w.kinds = map[string]*unstructured.Unstructured{}
	for kind, o := range all {
		w.kinds[kind] = o.DeepCopy()
	}
	w.services = map[string]*unstructured.Unstructured{}
	for _, name := range []string{"v1.apps", "v1beta1.metrics.k8s.io"} {
		w.services[name] = &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": name},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": "True"}}},
		}}
	}

	var file corev1.ConfigMap
	read := func(name string) {
		b, err := fs.ReadFile(manifests.System, "prometheus/"+name)
		if err != nil {
			t.Fatal(err)
		}
		file = corev1.ConfigMap{}
		if err := yaml.Unmarshal(b, &file); err != nil {
			t.Fatal(err)
		}
	}
	read("config.yaml")
	w.config = file.Data["prometheus.yml"]
	read("rules.yaml")
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(file.Data["rules.yml"], -1) {
		w.alerts = append(w.alerts, m[1])
	}
	return w
}

// theDefault is a default class, so many minutes old.
func theDefault(name string, age int) *storagev1.StorageClass {
	away := corev1.PersistentVolumeReclaimDelete
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
			CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-time.Duration(age) * time.Minute)),
		},
		Provisioner: "disks", ReclaimPolicy: &away,
	}
}

// ExecInPod is a machine's daemon, asked for what it says.
func (w *world) ExecInPod(_ context.Context, _, _, _ string, _ []string, out, _ *bytes.Buffer) error {
	now := time.Now().Add(w.ahead)
	_, err := fmt.Fprintf(out, "%sclock %d.%09d\n", w.says, now.Unix(), now.Nanosecond())
	return err
}

func (w *world) cluster(t *testing.T) *Cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	objects := []runtime.Object{&w.controllers}
	for i := range w.machines {
		objects = append(objects, &w.machines[i])
	}
	for i := range w.classes {
		objects = append(objects, &w.classes[i])
	}
	b := fake.NewClientBuilder().WithScheme(scheme)
	for i := range w.daemons {
		objects = append(objects, &w.daemons[i])
		b = b.WithObjects(w.daemons[i].DeepCopy())
	}
	for _, of := range []map[string]*unstructured.Unstructured{w.kinds, w.services} {
		for _, o := range of {
			b = b.WithObjects(o)
		}
	}
	c := b.WithInterceptorFuncs(interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
		return w.admits
	}}).Build()

	kube := kubefake.NewSimpleClientset(objects...)
	kube.PrependReactor("create", "selfsubjectaccessreviews", func(a ktesting.Action) (bool, runtime.Object, error) {
		r, ok := a.(ktesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		if !ok {
			t.Fatalf("%T", a)
		}
		r.Status.Allowed = r.Spec.ResourceAttributes.Verb+" "+resourceName(*r.Spec.ResourceAttributes) != w.denied
		return true, r, nil
	})
	kube.PrependReactor("create", "selfsubjectreviews", func(ktesting.Action) (bool, runtime.Object, error) {
		r := &authenticationv1.SelfSubjectReview{}
		r.Status.UserInfo.Username = "jane"
		return true, r, nil
	})
	kube.PrependReactor("create", "namespaces", func(a ktesting.Action) (bool, runtime.Object, error) {
		n, ok := a.(ktesting.CreateAction).GetObject().(*corev1.Namespace)
		if !ok {
			t.Fatalf("%T", a)
		}
		if w.level != "" {
			n.Labels["pod-security.kubernetes.io/enforce"] = w.level
		}
		return true, n, nil
	})
	kube.PrependReactor("create", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
		p, ok := a.(ktesting.CreateAction).GetObject().(*corev1.Pod)
		if !ok {
			t.Fatalf("%T", a)
		}
		return true, &corev1.Pod{}, cmp.Or(w.refuses, unmounted(p))
	})
	images := []string{"x0tta6bl4/probe:dev"}
	if w.published != "" {
		images = append(images, w.published)
	}
	return &Cluster{
		Kube: kube, Client: c, Exec: w, Prometheus: w.prometheus(t), Mesh: must(fs.Sub(manifests.Mesh, "mesh")),
		Images: images,
	}
}

// unmounted is the error of a pod that mounts a volume that it does not have, as an API server tells it.
func unmounted(p *corev1.Pod) error {
	for _, c := range p.Spec.Containers {
		for _, m := range c.VolumeMounts {
			if !slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
				return fmt.Errorf("container %s has no volume %s", c.Name, m.Name)
			}
		}
	}
	return nil
}

func must(f fs.FS, err error) fs.FS {
	if err != nil {
		panic(err)
	}
	return f
}

func (w *world) prometheus(t *testing.T) promv1.API {
	t.Helper()
	h := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var data any
		switch {
		case w.config == "":
			http.Error(rw, "no endpoints", http.StatusServiceUnavailable)
			return
		case strings.HasSuffix(r.URL.Path, "/status/buildinfo"):
			data = map[string]string{"version": "3"}
		case strings.HasSuffix(r.URL.Path, "/status/config"):
			data = map[string]string{"yaml": w.config}
		case strings.HasSuffix(r.URL.Path, "/rules"):
			var rules []map[string]any
			for _, a := range w.alerts {
				rules = append(rules, map[string]any{"type": "alerting", "name": a, "query": "vector(1)", "health": "ok", "state": "inactive",
					"duration": 0, "labels": map[string]string{}, "annotations": map[string]string{}, "alerts": []any{}, "lastEvaluation": time.Now()})
			}
			data = map[string]any{"groups": []any{map[string]any{"name": "mesh", "file": "rules.yml", "interval": w.evaluated, "rules": rules}}}
		}
		if err := json.NewEncoder(rw).Encode(map[string]any{"status": "success", "data": data}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(h.Close)
	c, err := api.NewClient(api.Config{Address: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	return promv1.NewAPI(c)
}

// TestEachDefectIsFound: a cluster with one defect gets one finding, which names it and what mends it; a sound one none.
func TestEachDefectIsFound(t *testing.T) {
	sub := func(old, new string) func(*world) {
		return func(w *world) {
			if !strings.Contains(w.config, old) {
				t.Fatalf("the configuration has no %q", old)
			}
			w.config = strings.Replace(w.config, old, new, 1)
		}
	}
	says := func(old, new string) func(*world) {
		return func(w *world) { w.says = strings.Replace(w.says, old, new, 1) }
	}
	// anotherSchema gives a kind's definition a field that the pinned one does not have, or only another description.
	anotherSchema := func(kind string, field map[string]any) func(*world) {
		return func(w *world) {
			versions, _, err := unstructured.NestedSlice(w.kinds[kind].Object, "spec", "versions") // a copy
			if err != nil || len(versions) != 1 {
				t.Fatal(len(versions), err)
			}
			v, ok := versions[0].(map[string]any)
			if !ok {
				t.Fatalf("%T", versions[0])
			}
			for name, value := range field {
				if err := unstructured.SetNestedField(v, value, "schema", "openAPIV3Schema", name); err != nil {
					t.Fatal(err)
				}
			}
			if err := unstructured.SetNestedSlice(w.kinds[kind].Object, versions, "spec", "versions"); err != nil {
				t.Fatal(err)
			}
		}
	}
	of := regexp.MustCompile(`^(one|two): |(StatefulSet|Deployment) \S+|clock [0-9.]+`)
	for name, c := range map[string]struct {
		spoil func(*world)
		fatal bool
		what  string // none where it is empty
		mend  string
	}{
		"sound": {func(*world) {}, false, "", ""},
		"Chaos Mesh is absent": {func(w *world) { w.kinds, w.daemons, w.controllers.Labels = nil, nil, nil },
			true, "Chaos Mesh is not installed", "helm install"},
		"a kind is absent":             {func(w *world) { delete(w.kinds, "iochaos") }, true, "has no iochaos", "crds.yaml"},
		"another definition of a kind": {anotherSchema("timechaos", map[string]any{"minProperties": int64(1)}), false, "timechaos differ", "crds.yaml"},
		"only other words":             {anotherSchema("timechaos", map[string]any{"description": "other words"}), false, "", ""},
		"a namespace filter":           {func(w *world) { w.controllers.Spec.Template.Spec.Containers[0].Env[2].Value = "true" }, true, "an annotation allows", "ENABLE_FILTER_NAMESPACE=false"},
		"one namespace only":           {func(w *world) { w.controllers.Spec.Template.Spec.Containers[0].Env[1].Value = "false" }, true, "serves only namespace chaos-mesh", "clusterScoped=true"},
		"one controller of three":      {func(w *world) { three := int32(3); w.controllers.Spec.Replicas = &three }, false, "1 of 3 pods are ready", "kubectl describe"},
		"another name for the chart":   {func(w *world) { w.controllers.Labels["app.kubernetes.io/part-of"] = "storm" }, false, "", ""},
		"controllers of something else": {func(w *world) {
			w.controllers.Labels["app.kubernetes.io/part-of"], w.controllers.Spec.Template.Spec.Containers[0].Env = "storm", nil
		}, true, "no Deployment of its controllers", "helm install"},
		"a daemon for another runtime": {func(w *world) { w.daemons[1].Spec.Containers[0].Command = []string{"chaos-daemon", "--runtime=docker"} }, true,
			"two: containers are run by containerd there, and the daemon of Chaos Mesh is set to docker", "chaosDaemon.socketPath=/run/containerd/containerd.sock"},
		"a runtime that is written otherwise": {func(w *world) {
			w.machines[1].Status.NodeInfo.ContainerRuntimeVersion, w.daemons[1].Spec.Containers[0].Command[2] = "cri-o://1.34.0", "crio"
		}, false, "", ""},
		"controllers are not ready":     {func(w *world) { w.controllers.Status.AvailableReplicas = 0 }, true, "0 of 1 pods are", "kubectl describe -n chaos-mesh deployment/chaos-controller-manager"},
		"a daemon is not ready":         {func(w *world) { w.daemons[1].Status.Conditions = nil }, true, "is ready on two", "kubectl get pods"},
		"a machine without a daemon":    {func(w *world) { w.daemons = w.daemons[:1] }, true, "is ready on two", "kubectl get pods"},
		"webhooks refuse":               {func(w *world) { w.admits = errors.New("no endpoints available") }, true, "admit no object: no endpoints", "kubectl -n chaos-mesh logs"},
		"Prometheus is absent":          {func(w *world) { w.config = "" }, true, "no Prometheus answers", "kubectl apply -f manifests/prometheus"},
		"scraping too rarely":           {sub("scrape_interval: 1s", "scrape_interval: 15s"), true, "scrapes every 15s", "scrape_interval: 1s"},
		"a job that scrapes too rarely": {sub("- job_name: pods\n", "- job_name: pods\n    scrape_interval: 30s\n"), true, "job pods scrapes every 30s", "scrape_interval: 1s"},
		"Prometheus' default interval":  {sub("scrape_interval: 1s", "query_log_file: x"), true, "scrapes every 1m0s", "scrape_interval: 1s"},
		"no job for pods":               {sub("_io_scrape]", "_io_probe]"), true, "no job of Prometheus", "job `pods`"},
		"a job by the pods' labels":     {sub("_annotation_prometheus_io_scrape]\n        regex: \"true\"", "_label_app]\n        regex: mesh-.*"), false, "", ""},
		"a job by other labels":         {sub("_annotation_prometheus_io_scrape]\n        regex: \"true\"", "_label_app]\n        regex: web"), true, "no job of Prometheus", "job `pods`"},
		"a job that takes all pods":     {sub("regex: \"true\"", "regex: .*"), false, "", ""},
		"labels by a map": {sub("- source_labels: [__meta_kubernetes_namespace]\n        target_label: namespace",
			"- regex: __meta_kubernetes_(namespace)\n        action: labelmap"), false, "", ""},
		"a label with another's value": {sub("[__meta_kubernetes_pod_name]", "[__meta_kubernetes_pod_ip]"), true, "no label pod", "job `pods`"},
		"a job by every port": {func(w *world) {
			w.config = strings.ReplaceAll(w.config, "target_label: __address__", "target_label: elsewhere")
		},
			false, "too, where there are no metrics", "job `pods`"},
		"a job by another port": {sub("$1:$2", "$1:9"), true, "scrapes the mesh's pods at port 9, and not", "job `pods`"},
		"a job by protocol and machine": {sub("- job_name: pods\n    kubernetes_sd_configs:\n      - role: pod\n    relabel_configs:\n",
			"- job_name: pods\n    kubernetes_sd_configs:\n      - role: pod\n    relabel_configs:\n      - {source_labels: [__meta_kubernetes_pod_container_port_protocol, __meta_kubernetes_pod_node_name], regex: TCP;.+, action: keep}\n"), false, "", ""},
		"a job by Services, and clients have none":                  {sub("- role: pod\n", "- role: endpointslice\n"), true, "no job of Prometheus", "job `pods`"},
		"a rule that the server prints with the default expression": {sub("    relabel_configs:\n", "    relabel_configs:\n      - {source_labels: [__meta_kubernetes_namespace], regex: (.*), target_label: __meta_kubernetes_namespace, action: keepequal}\n"), false, "", ""},
		"jobs in other files": {func(w *world) {
			w.config = strings.Replace(w.config, "_io_scrape]", "_io_probe]", 1) + "\nscrape_config_files: [jobs/*.yaml]\n"
		}, false, "unless one of jobs/*.yaml does", "job `pods`"},
		"relabelling says how often": {func(w *world) {
			w.config = strings.Replace(w.config, "- job_name: pods\n", "- job_name: pods\n    scrape_interval: 30s\n", 1)
			w.config = strings.Replace(w.config, "    relabel_configs:\n", "    relabel_configs:\n      - {target_label: __scrape_interval__, replacement: 1s}\n", 1)
		}, false, "", ""},
		"another path":                     {sub("- job_name: pods\n", "- job_name: pods\n    metrics_path: /federate\n"), true, "and not at http:…/metrics", "job `pods`"},
		"pods selected at the server":      {sub("- role: pod\n", "- role: pod\n        selectors: [{role: pod, label: app=web}]\n"), true, "no job of Prometheus", "job `pods`"},
		"no classic histograms":            {sub("always_scrape_classic_histograms: true", "always_scrape_classic_histograms: false"), true, "leaves out the classic ones", "always_scrape"},
		"no native histograms and classic": {sub("scrape_native_histograms: true\n  always_scrape_classic_histograms: true", "external_labels: {a: b}"), false, "", ""},
		"a job without classic histograms": {sub("- job_name: pods\n", "- job_name: pods\n    always_scrape_classic_histograms: false\n"), true, "leaves out the classic ones", "always_scrape"},
		"a job of another namespace":       {sub("- role: pod\n", "- role: pod\n        namespaces: {names: [x]}\n"), true, "no job of Prometheus", "job `pods`"},
		"no label pod":                     {sub("target_label: pod", "target_label: name"), true, "no label pod", "job `pods`"},
		"scraping twice by annotation": {func(w *world) {
			_, job, _ := strings.Cut(w.config, "- job_name: pods")
			job, _, _ = strings.Cut(job, "- job_name: chaos-mesh")
			w.config = strings.TrimRight(w.config, "\n") + "\n  - job_name: kubernetes-pods" + strings.TrimRight(job, " ")
		}, true, "twice, by its jobs pods, kubernetes-pods", "no other"},
		"another job that scrapes other pods twice": {sub("- job_name: pods\n", `- job_name: web
    kubernetes_sd_configs: [{role: pod}, {role: pod}]
    relabel_configs: [{source_labels: [__meta_kubernetes_pod_label_app], regex: web, action: keep}]
  - job_name: pods
`), false, "", ""},
		"alerts that are looked at rarely": {func(w *world) { w.evaluated = 30 }, true, "PQCVerificationFailureSpike (every 30s)", "interval: 1s"},
		"rules are not seen":               {func(w *world) { w.alerts = w.alerts[1:] }, true, "does not have the alerts PQCVerificationFailureSpike", "rules.yaml"},
		"metrics-server is absent":         {func(w *world) { delete(w.services, "v1beta1.metrics.k8s.io") }, false, "there is no metrics-server", "manifests/metrics-server"},
		"an aggregated API is down": {func(w *world) {
			w.services["v1.apps"].Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": "False", "reason": "MissingEndpoints"}}}
		}, true, "v1.apps does not answer (MissingEndpoints)", "kubectl describe apiservice v1.apps"},
		"pods are refused": {func(w *world) { w.refuses = errors.New("denied by policy:\n  no hostPath") }, false,
			"would be refused in namespace default: denied by policy: no hostPath", "exception"},
		"pods are refused in that namespace": {func(w *world) {
			w.refuses = errors.New(`pods "x" is forbidden: violates PodSecurity "restricted:latest"`)
		}, false, "", ""},
		"no class": {func(w *world) { w.classes = nil }, true, "no StorageClass is the default one", "kubectl annotate storageclass"},
		"no default class": {func(w *world) { w.classes[1].Annotations["storageclass.kubernetes.io/is-default-class"] = "false" }, true,
			"no StorageClass is the default one", "kubectl annotate storageclass"},
		"a default class in the old way": {func(w *world) {
			w.classes[1].Annotations = map[string]string{"storageclass.beta.kubernetes.io/is-default-class": "true"}
		}, false, "", ""},
		"a class that makes none": {func(w *world) { w.classes[1].Provisioner = noProvisioner }, true, "standard makes no volumes", "by itself"},
		"volumes that stay": {func(w *world) {
			stays := corev1.PersistentVolumeReclaimRetain
			w.classes[1].ReclaimPolicy = &stays
		}, true, "standard stay when their claims are gone (Retain)", "reclaimPolicy is Delete"},
		"a policy that goes without saying": {func(w *world) { w.classes[1].ReclaimPolicy = nil }, false, "", ""},
		"a newer default class": {func(w *world) {
			stays := theDefault("newer", -1)
			*stays.ReclaimPolicy = corev1.PersistentVolumeReclaimRetain
			w.classes = append(w.classes, *stays)
		}, true, "newer stay when", "reclaimPolicy is Delete"},
		"an older default class": {func(w *world) {
			stays := theDefault("older", 1)
			*stays.ReclaimPolicy = corev1.PersistentVolumeReclaimRetain
			w.classes = append(w.classes, *stays)
		}, false, "", ""},
		"Windows":              {func(w *world) { w.machines[1].Status.NodeInfo.OperatingSystem = "windows" }, true, "two: nodes of the mesh may come there, and it runs windows", "kubectl taint node two"},
		"another architecture": {func(w *world) { w.machines[1].Status.NodeInfo.Architecture = "s390x" }, false, "two: it is s390x", "made for it"},
		"pods' security":       {func(w *world) { w.level = "baseline" }, true, `set to "baseline"`, "exception"},
		"an old kernel":        {func(w *world) { w.machines[1].Status.NodeInfo.KernelVersion = "5.10.0" }, true, "two: ", "newer kernel"},
		"a kernel without tcx": {func(w *world) { w.machines[1].Status.NodeInfo.KernelVersion = "6.1.0-44-amd64" }, false, "", ""},
		"nor with filters": {func(w *world) {
			w.machines[1].Status.NodeInfo.KernelVersion, w.says = "6.1.0-44-amd64", strings.Replace(w.says, "filters\n", "", 1)
		}, false, "two: pqc-corrupt is not supported: Linux 6.1.0-44-amd64 has no tcx", "modprobe -a sch_ingress cls_bpf"},
		"the oldest kernel with tcx": {func(w *world) {
			w.machines[1].Status.NodeInfo.KernelVersion, w.says = "6.6.0", strings.Replace(w.says, "filters\n", "", 1)
		}, false, "", ""},
		"an old control plane":        {func(w *world) { w.machines[2].Status.NodeInfo.KernelVersion = "4.19.0" }, false, "", ""},
		"a kernel without types":      {says("types\n", ""), true, "no type information", "CONFIG_DEBUG_INFO_BTF"},
		"capabilities are kept back":  {says("1ff", "0ff"), false, "", ""},
		"no CAP_BPF":                  {says("000001ffffffffff", "0000007fffffffff"), true, "cannot have CAP_BPF", "limits on capabilities"},
		"a user namespace":            {says("users 0 0", "users 0 100000"), true, "rootless", "as root"},
		"a small MTU":                 {says("1500", "1200"), true, "(eth0) is 1200", "1280 at least"},
		"the least MTU":               {says("1500", "1280"), false, "", ""},
		"a clock that is ahead":       {func(w *world) { w.ahead = 3 * time.Second }, true, "3s ahead of", "time service"},
		"a clock that is behind":      {func(w *world) { w.ahead = -time.Hour }, true, "1h0m0s behind", "time service"},
		"an answer that is cut short": {says("mtu", "m"), true, "one: the machine cannot be looked at: the answer is cut short", "try again"},
		"an image in a registry": {func(w *world) {
			w.published = "x0tta6bl4/probe@sha256:" + strings.Repeat("0", 64)
			w.machines[1].Status.Images = append(w.machines[1].Status.Images, corev1.ContainerImage{Names: []string{w.published}})
		}, false, "one does not have x0tta6bl4/probe@sha256:", "wait longer"},
		"an image is missing": {func(w *world) { w.machines[0].Status.Images = w.machines[0].Status.Images[1:] }, true, "one does not have x0tta6bl4/meshnode:dev", "kind load docker-image x0tta6bl4/meshnode:dev"},
		"images that are not told of": {func(w *world) {
			w.machines[0].Status.Images = make([]corev1.ContainerImage, told)
		}, false, "", ""},
		"no image is told of": {func(w *world) { w.machines[0].Status.Images = nil }, false, "", ""},
		"no machine":          {func(w *world) { w.machines = w.machines[2:] }, true, "pods can come to no machine", "taints"},
		"a right is denied":   {func(w *world) { w.denied = "create pods/exec" }, true, "jane may not create pods/exec", "--user=jane"},
	} {
		t.Run(name, func(t *testing.T) {
			w := sound(t)
			c.spoil(w)
			found := Examine(t.Context(), w.cluster(t))
			if c.what == "" {
				if len(found) > 0 {
					t.Errorf("found %v", found)
				}
				return
			}
			about := map[string]bool{} // a defect of both machines, or of all sets of pods, is one
			for _, f := range found {
				about[of.ReplaceAllString(f.What, "")] = true
			}
			if len(about) != 1 {
				t.Fatalf("found %d: %v", len(found), found)
			}
			f := found[0]
			if f.Fatal != c.fatal || !strings.Contains(f.What, c.what) || !strings.Contains(f.Mend, c.mend) {
				t.Errorf("found %q, want fatal %t, %q, %q", f, c.fatal, c.what, c.mend)
			}
			if strings.Contains(f.String(), "\n") {
				t.Errorf("more than a line: %q", f)
			}
		})
	}
}

// TestOneDefectHidesNoOther: what is found does not keep others from being found, and what a user may not look at is told once.
func TestOneDefectHidesNoOther(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*world)
		want  []string
	}{
		"a machine that cannot be looked at": {func(w *world) {
			w.says, w.machines[1].Status.NodeInfo.KernelVersion = "", "5.10.0"
		}, []string{"one: the machine cannot be looked at", "this is 5.10.0", "two: the machine cannot be looked at"}},
		"a right, and another finding": {func(w *world) {
			w.denied = "create pods/exec"
			delete(w.services, "v1beta1.metrics.k8s.io")
		}, []string{"jane may not create pods/exec", "no metrics-server"}},
		"a kind that differs, and webhooks": {func(w *world) {
			w.kinds["iochaos"].Object["spec"] = w.kinds["timechaos"].Object["spec"]
			w.admits = errors.New("no endpoints available")
		}, []string{"iochaos differ", "admit no object"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := sound(t)
			c.spoil(w)
			found := Examine(t.Context(), w.cluster(t))
			for _, want := range c.want {
				if !slices.ContainsFunc(found, func(f Finding) bool { return strings.Contains(f.What, want) }) {
					t.Errorf("nothing says %q: %v", want, found)
				}
			}
			if len(found) != len(c.want) {
				t.Errorf("found %d, want %d: %v", len(found), len(c.want), found)
			}
		})
	}
}

// TestWhatPassesIsWaitedFor: a cluster that is only just coming up is no wrong one; what would not pass is told of at once.
func TestWhatPassesIsWaitedFor(t *testing.T) {
	starting, wrong, hint := passing("wait", "no daemon is ready"), fatal("boot another", "an old kernel"), note("mend", "no metrics-server")
	for name, c := range map[string]struct {
		at    func(since time.Duration) []Finding
		takes time.Duration
		said  int
		fatal bool
	}{
		"sound":             {func(time.Duration) []Finding { return nil }, 0, 0, false},
		"a note":            {func(time.Duration) []Finding { return []Finding{hint} }, 0, 0, false},
		"wrong":             {func(time.Duration) []Finding { return []Finding{starting, wrong} }, 0, 0, true},
		"starting for ever": {func(time.Duration) []Finding { return []Finding{hint, starting} }, passesWithin + looksEvery, 1, true},
		"started after 12 s": {func(d time.Duration) []Finding {
			if d < 12*time.Second {
				return []Finding{starting}
			}
			return nil
		}, 15 * time.Second, 1, false},
		"wrong after 12 s": {func(d time.Duration) []Finding {
			if d < 12*time.Second {
				return []Finding{starting}
			}
			return []Finding{wrong}
		}, 15 * time.Second, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				begun := time.Now()
				var said []string
				found := await(t.Context(), func() []Finding { return c.at(time.Since(begun)) }, func(line string) { said = append(said, line) })
				if took := time.Since(begun); took != c.takes || Fatal(found) != c.fatal || len(said) != c.said {
					t.Errorf("after %v %v, said %q; want %v, fatal %t, %d lines", took, found, said, c.takes, c.fatal, c.said)
				}
			})
		})
	}
}
