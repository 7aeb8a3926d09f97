package mesh

import (
	"strings"
	"testing"
	"testing/fstest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const manifests = `apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: mesh-node-a
  namespace: x0tta6bl4
  labels:
    app.kubernetes.io/part-of: x0tta6bl4
spec:
  serviceName: mesh-nodes
  selector: {matchLabels: {app: mesh-node}}
  template:
    metadata: {labels: {app: mesh-node}}
    spec:
      containers:
        - name: meshnode
          image: x0tta6bl4/meshnode:dev
          args: [run, --peers=mesh-nodes.x0tta6bl4.svc, --namespace=x0tta6bl4, --ca, "https://mesh-ca.x0tta6bl4.svc:8444/v1"]
          env:
            - {name: MESH_NAMESPACE, value: x0tta6bl4}
            - {name: MESH_METRICS, value: x0tta6bl4_pqc_sessions}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: mesh-ca}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: mesh-ca}
subjects: [{kind: ServiceAccount, name: mesh-ca, namespace: x0tta6bl4}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: mesh-ca-view}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: User, name: "system:serviceaccount:x0tta6bl4:mesh-ca"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: mesh-ca}
rules: []
---
apiVersion: v1
kind: Namespace
metadata: {name: x0tta6bl4}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nodes}
spec:
  podSelector: {}
  ingress:
    - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: x0tta6bl4}}}]
`

func load(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	objects, err := Load(t.Context(), fstest.MapFS{"mesh.yaml": {Data: []byte(manifests)}}, "s1")
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestLoadMovesEverything(t *testing.T) {
	var text strings.Builder
	var kinds []string
	for _, o := range load(t) {
		kinds = append(kinds, o.GetKind())
		if got := o.GetLabels()[OwnerLabel]; got != "s1" {
			t.Errorf("%s %s is not marked: %q", o.GetKind(), o.GetName(), got)
		}
		b, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	if got, want := strings.Join(kinds, " "), "ClusterRole ClusterRoleBinding ClusterRoleBinding NetworkPolicy StatefulSet"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	for _, want := range []string{
		"namespace: s1\n", "- --peers=mesh-nodes.s1.svc\n", "- --namespace=s1\n", "https://mesh-ca.s1.svc:8444/v1", "value: s1\n",
		"kubernetes.io/metadata.name: s1\n", "name: mesh-ca-s1\n", "name: mesh-ca-view-s1\n", "name: view\n",
		// the project's own name stays
		"image: x0tta6bl4/meshnode:dev", "app.kubernetes.io/part-of: x0tta6bl4", "value: x0tta6bl4_pqc_sessions", "name: mesh-nodes",
	} {
		if want == "name: mesh-nodes" {
			want = "serviceName: mesh-nodes\n"
		}
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
	for _, bad := range []string{"namespace: x0tta6bl4", ".x0tta6bl4.", "value: x0tta6bl4\n", "name: x0tta6bl4"} {
		if strings.Contains(text.String(), bad) {
			t.Errorf("%q is still there", bad)
		}
	}
}

func TestRoleRefFollowsOnlyOwnRoles(t *testing.T) {
	for _, o := range load(t) {
		if o.GetKind() != "ClusterRoleBinding" {
			continue
		}
		name, _, err := unstructured.NestedString(o.Object, "roleRef", "name")
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"mesh-ca-s1": "mesh-ca-s1", "mesh-ca-view-s1": "view"}[o.GetName()]
		if name != want {
			t.Errorf("%s refers to %s, want %s", o.GetName(), name, want)
		}
	}
}

func TestServiceAccountUsersMove(t *testing.T) {
	got := mention.ReplaceAllString("system:serviceaccount:x0tta6bl4:mesh-ca", "${1}s1${2}")
	if got != "system:serviceaccount:s1:mesh-ca" {
		t.Fatalf("got %s", got)
	}
}

func TestLoadRefusesNothing(t *testing.T) {
	if _, err := Load(t.Context(), fstest.MapFS{}, "s1"); err == nil {
		t.Error("no manifests were accepted")
	}
	if _, err := Load(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte("kind: [")}}, "s1"); err == nil {
		t.Error("broken YAML was accepted")
	}
}

func TestNodeArgs(t *testing.T) {
	load := func() []*unstructured.Unstructured {
		files := fstest.MapFS{"mesh.yaml": {Data: []byte(strings.Replace(manifests, "name: meshnode", "name: node", 1))}}
		objects, err := Load(t.Context(), files, "elsewhere")
		if err != nil {
			t.Fatal(err)
		}
		return objects
	}
	objects := load()
	if err := addNodeArgs(objects, []string{"--mapek=off"}); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() != "StatefulSet" {
			continue
		}
		containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		if err != nil {
			t.Fatal(err)
		}
		args, _, err := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
		if err != nil || args[0] != "run" || args[len(args)-1] != "--mapek=off" {
			t.Errorf("args %v, %v", args, err)
		}
	}
	if err := addNodeArgs(objects[:1], []string{"--mapek=off"}); err == nil {
		t.Error("flags that no node got are no error")
	}
}
