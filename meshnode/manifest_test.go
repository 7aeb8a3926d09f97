package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

const manifests = "../manifests/mesh"

// objects decodes every object of the manifests strictly: a field that does not
// exist is an error, as it is for kubectl.
func objects(t *testing.T) map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(manifests, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	all := map[string]any{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for i, doc := range bytes.Split(b, []byte("\n---\n")) {
			var head struct {
				Kind     string
				Metadata struct{ Name, Namespace string }
			}
			if err := yaml.Unmarshal(doc, &head); err != nil {
				t.Fatalf("%s, object %d: %v", f, i, err)
			}
			o, ok := map[string]any{
				"ServiceAccount": &corev1.ServiceAccount{}, "Service": &corev1.Service{}, "Deployment": &appsv1.Deployment{},
				"StatefulSet": &appsv1.StatefulSet{}, "Role": &rbacv1.Role{}, "RoleBinding": &rbacv1.RoleBinding{},
				"ClusterRole": &rbacv1.ClusterRole{}, "ClusterRoleBinding": &rbacv1.ClusterRoleBinding{},
				"PodDisruptionBudget": &policyv1.PodDisruptionBudget{}, "NetworkPolicy": &networkingv1.NetworkPolicy{},
				"Namespace": &corev1.Namespace{}, "Secret": &corev1.Secret{}, "HorizontalPodAutoscaler": &autoscalingv2.HorizontalPodAutoscaler{},
			}[head.Kind]
			if !ok {
				t.Errorf("%s: unexpected kind %q", f, head.Kind)
				continue
			}
			if err := yaml.UnmarshalStrict(doc, o); err != nil {
				t.Errorf("%s, %s %s: %v", f, head.Kind, head.Metadata.Name, err)
			}
			if cluster := strings.HasPrefix(head.Kind, "Cluster") || head.Kind == "Namespace"; cluster != (head.Metadata.Namespace == "") || !cluster && head.Metadata.Namespace != "x0tta6bl4" {
				t.Errorf("%s %s is in namespace %q", head.Kind, head.Metadata.Name, head.Metadata.Namespace)
			}
			all[head.Kind+"/"+head.Metadata.Name] = o
		}
	}
	return all
}

// templates are the pod templates of the manifests by workload.
func templates(t *testing.T, all map[string]any) map[string]corev1.PodTemplateSpec {
	t.Helper()
	pods := map[string]corev1.PodTemplateSpec{}
	for name, o := range all {
		switch w := o.(type) {
		case *appsv1.Deployment:
			pods[name] = w.Spec.Template
		case *appsv1.StatefulSet:
			pods[name] = w.Spec.Template
		}
	}
	if len(pods) != 4 {
		t.Errorf("%d workloads", len(pods))
	}
	return pods
}

func TestManifestsAreLeastPrivileged(t *testing.T) {
	for name, pod := range templates(t, objects(t)) {
		c := pod.Spec.Containers[0]
		s := c.SecurityContext
		var added []string
		for _, a := range s.Capabilities.Add {
			added = append(added, string(a))
		}
		node := strings.HasPrefix(name, "StatefulSet/")
		switch {
		case node && !slices.Equal(added, []string{"BPF", "NET_ADMIN", "PERFMON"}):
			t.Errorf("%s adds %v", name, added)
		case !node && (len(added) > 0 || pod.Spec.SecurityContext.RunAsNonRoot == nil || !*pod.Spec.SecurityContext.RunAsNonRoot):
			t.Errorf("%s needs no privilege", name)
		}
		if !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
			s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.Privileged != nil && *s.Privileged {
			t.Errorf("%s: security context %+v", name, s)
		}
		if pod.Spec.HostNetwork || pod.Spec.HostPID || pod.Spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s shares the host", name)
		}
		if mounts := pod.Spec.AutomountServiceAccountToken; name != "Deployment/mesh-ca" && (mounts == nil || *mounts) {
			t.Errorf("%s gets a token of the API server", name)
		}
		if len(c.Command) > 0 {
			t.Errorf("%s sets command: a pod-failure could not pause it", name)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() || c.ImagePullPolicy != corev1.PullIfNotPresent {
			t.Errorf("%s: resources %+v, pull %s", name, c.Resources, c.ImagePullPolicy)
		}
		if l := c.LivenessProbe; l != nil && l.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
			t.Errorf("%s: probes %+v %+v", name, l, c.ReadinessProbe)
		}
	}
}

// TestManifestsFitTheBinary: every argument and variable is one that the command
// takes.
func TestManifestsFitTheBinary(t *testing.T) {
	all := objects(t)
	pods := templates(t, all)
	for name, pod := range pods {
		c := pod.Spec.Containers[0]
		var out bytes.Buffer
		for _, e := range c.Env {
			if strings.HasPrefix(e.Name, "MESH_") {
				c.Args = append(c.Args, "--"+strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(e.Name, "MESH_"), "_", "-"))+"="+cmp.Or(e.Value, "x"))
			}
		}
		// --help comes last: what precedes it is parsed first.
		if code := binary().Run(t.Context(), append(c.Args, "--help"), &out, &out); code != 0 || !strings.Contains(out.String(), "example:") {
			t.Errorf("%s: %v: exit %d\n%s", name, c.Args, code, out.String())
		}
	}
	var want []string
	for _, set := range []string{"mesh-node-a", "mesh-node-b"} {
		s, ok := all["StatefulSet/"+set].(*appsv1.StatefulSet)
		if !ok {
			t.Fatalf("no StatefulSet %s", set)
		}
		for i := range *s.Spec.Replicas {
			want = append(want, fmt.Sprintf("https://%s-%d.%s:8443", set, i, s.Spec.ServiceName))
		}
		labels := s.Spec.Template.Labels
		if labels["app"] != "mesh-node" || labels["component"] != "pqc-verifier" || labels["zone"] != "zone-"+set[len(set)-1:] {
			t.Errorf("%s: labels %v", set, labels)
		}
	}
	if args := pods["Deployment/mesh-client"].Spec.Containers[0].Args; !slices.Contains(args, "--nodes="+strings.Join(want, ",")) {
		t.Errorf("the client does not use %v", want)
	}
	if api, ok := all["Service/mesh-api"].(*corev1.Service); !ok || !slices.Contains(pods["Deployment/mesh-client"].Spec.Containers[0].Args, fmt.Sprintf("--service=https://mesh-api:%d", api.Spec.Ports[0].Port)) {
		t.Error("the client does not use the Service")
	}
	if len(want) != 5 {
		t.Errorf("%d nodes", len(want))
	}
}

func TestServicesSelectThePods(t *testing.T) {
	all := objects(t)
	pods := templates(t, all)
	for name, o := range all {
		s, ok := o.(*corev1.Service)
		if !ok {
			continue
		}
		selected := 0
		for _, pod := range pods {
			if maps.Equal(s.Spec.Selector, map[string]string{"app": pod.Labels["app"]}) {
				selected++
			}
		}
		if selected == 0 {
			t.Errorf("%s selects nothing", name)
		}
	}
	nodes, ok := all["Service/mesh-nodes"].(*corev1.Service)
	if !ok || !nodes.Spec.PublishNotReadyAddresses || nodes.Spec.ClusterIP != corev1.ClusterIPNone || nodes.Spec.Ports[0].Name != "mesh" || nodes.Spec.Ports[0].Port != 26970 {
		t.Errorf("peers cannot find each other: %+v", nodes)
	}
}
